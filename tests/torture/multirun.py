"""Sweeps whose jobs break, and sweeps that are killed: what is finished stays, and the rest comes to the same end.

    python tests/torture/multirun.py [--count 24] [--seed 0] [--launcher basic|joblib|ray]

Of one sweep, in which jobs raise, are killed, crash, hang and leave, all others must finish, and each of these be told
of with its cause. Another is killed with SIGKILL at random moments, which are the tries, alone or with all that it has
begun, and resumed each time, in turn by `cnnbench resume` and by its own command. Both must come to what the same sweep
comes to undisturbed: the table of results to the byte, the metrics and the weights. No finished job may run again.
"""

import random
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from os import killpg
from pathlib import Path

from torture import CNNBENCH, Ending, Report, broken, environment, main, run, tiny

from cnnbench.disk import is_locked

LAUNCHERS = {
    "basic": [],
    "joblib": ["sweep=joblib", "hydra.launcher.n_jobs=2"],
    "ray": ["sweep=ray"],
}
SECONDS_TO_END = {"basic": 0.5, "joblib": 0.5, "ray": 4.0}  # of what a command has begun, once that alone is killed
LARGE = {"raise": 5, "kill": 3, "segfault": 2, "hang": 2, "exit": 1}, 50, 20
SMALL = dict.fromkeys(LARGE[0], 1), 8, 12
KILLS_OF_THE_LARGE = 20
CAUSES = {
    "raise": "RuntimeError: a bug in a technique",
    "kill": "killed by SIGKILL",
    "segfault": "killed by SIGSEGV",
    "hang": "still at work after",
    "exit": "SystemExit: 3",
}
LIMIT = 900.0  # seconds, of a sweep that nobody kills


@dataclass(frozen=True)
class Sweep:
    """Jobs that are one another's but for their seed. `faults` are those of seeds, in the sweep that is to break, and
    `timeout` the seconds after which a job is taken to hang."""

    jobs: int
    faults: dict[int, str]
    timeout: int
    launcher: str
    place: Path

    def command(self, name: str) -> list[str]:
        """Its command line, with its folder there."""
        often = ["epochs=20", "checkpoint.every_seconds=0.01", f"sweep.job_timeout={self.timeout}"]
        return [
            "train",
            "-m",
            *tiny.TINY,
            *often,
            f"seed=range({self.jobs})",
            *LAUNCHERS[self.launcher],
            f"hydra.sweep.dir={name}",
        ]

    def run(self, *arguments: str, **variables: str) -> Ending:
        """A command of it that nobody kills."""
        return run(arguments, self.place, limit=LIMIT, env=environment(self.place) | variables)

    def folder(self, name: str, job: int) -> Path:
        return self.place / name / f"{job}-simple-synthetic"

    def finished(self, name: str) -> dict[Path, bytes]:
        """What the finished jobs there have left: by its path each file of theirs."""
        done = [self.folder(name, job) for job in range(self.jobs)]
        done = [path for path in done if status(path) == "finished" and not is_locked(path / ".lock")]
        return {file: file.read_bytes() for path in done for file in sorted(path.iterdir()) if file.is_file()}


def torture(report: Report, count: int, seed: int, folder: Path, launcher: str) -> None:
    """Kills a sweep `count` times, beside one whose jobs break."""
    numbers = random.Random(seed)
    faults, jobs, timeout = LARGE if count >= KILLS_OF_THE_LARGE else SMALL
    kinds = [kind for kind, times in faults.items() for _ in range(times)]
    hit = dict(zip(numbers.sample(range(jobs), len(kinds)), kinds, strict=True))
    sweep = Sweep(jobs, hit, timeout, launcher, folder)
    with ThreadPoolExecutor() as beside:
        broke = beside.submit(break_jobs, sweep, "broken")
        straight = sweep.run(*sweep.command("straight"))
        assert straight.exit_code == 0, straight.err
        failure = broke.result()
        mended = beside.submit(sweep.run, "resume", "broken")
        killed = kill_often(report, count, numbers, sweep, straight.seconds)
        failure = failure or judge(sweep, "broken", mended.result(), straight)
    report.note(f"{len(hit)} jobs broke", failure and f"broken: {failure}")
    for name, ending in killed.items():
        if failure := judge(sweep, name, ending, straight):
            report.note("lost", f"{name}: {failure}")


def break_jobs(sweep: Sweep, name: str) -> str | None:
    """Runs it with its faults: what is wrong with how it ended."""
    faults = {f"s{job}": fault for job, fault in sweep.faults.items()}
    ending = sweep.run(*sweep.command(name), **broken(**faults))
    if ending.exit_code != 5:
        return f"ended with {ending.exit_code}: {ending.err[-300:]}"
    told = [line for line in ending.err.splitlines() if line.startswith("error: ")]
    for line, (job, fault) in zip(told, sorted(sweep.faults.items()), strict=True):
        path = sweep.folder(name, job).relative_to(sweep.place)
        cause, _, log = line.removeprefix(f"error: {path}: ").rpartition("; see ")
        if not cause.startswith(CAUSES[fault]) or not (sweep.place / log).is_file():
            return f"job {job}, {fault}, is told of as {line}"
    states = [status(sweep.folder(name, job)) for job in range(sweep.jobs)]
    right = ["failed" if job in sweep.faults else "finished" for job in range(sweep.jobs)]
    return None if states == right else f"jobs are {states}"


def kill_often(report: Report, count: int, numbers: random.Random, sweep: Sweep, seconds: float) -> dict[str, Ending]:
    """Begins, kills and resumes sweeps until there were so many kills: how each was ended, by its folder's name."""
    kills, endings = 0, dict[str, Ending]()
    while kills < count:
        name, kept = f"killed{len(endings)}", dict[Path, bytes]()
        ways = [sweep.command(name), ["resume", name]]
        while kills < count:
            way = ways[numbers.random() < 0.5] if (sweep.place / name / "sweep.json").exists() else ways[0]
            delay, alone = numbers.uniform(0.3, 1) * min(seconds, 12), numbers.random() < 0.5
            if not kill_after(delay, way, sweep, alone):
                break  # it had come to its end before
            kills += 1
            changed = [str(file) for file, content in kept.items() if not is_still(file, content)]
            what = f"{name}, kill {kills} after {delay:.2f} s, {'alone' if alone else 'with all'}: changed {changed}"
            report.note("killed alone" if alone else "killed with all it began", what if changed else None)
            kept |= sweep.finished(name)
        endings[name] = sweep.run("resume", name)
        if changed := [str(file) for file, content in kept.items() if not is_still(file, content)]:
            report.note("run again", f"{name}: at the end changed {changed}")
    return endings


def kill_after(seconds: float, arguments: Sequence[str], sweep: Sweep, alone: bool) -> bool:
    """Whether the command was still at work when it was killed, by itself or with all of its session; what it has begun
    has then ended too."""
    process = subprocess.Popen(
        [*CNNBENCH, *arguments],
        cwd=sweep.place,
        env=environment(sweep.place),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return False
    if alone:
        process.kill()
    else:
        killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(SECONDS_TO_END[sweep.launcher])
    return True


def is_still(file: Path, content: bytes) -> bool:
    return file.is_file() and file.read_bytes() == content


def status(path: Path) -> str:
    return str(tiny.summary(path)["status"]) if (path / "summary.json").exists() else "waiting"


def judge(sweep: Sweep, name: str, ending: Ending, straight: Ending) -> str | None:
    """What of an ended sweep differs from the undisturbed one."""
    if ending.exit_code != 0:
        return f"ended with {ending.exit_code}: {ending.err[-300:]}"
    if table(ending).replace(name, "straight") != table(straight):
        return f"another table: {table(ending)}"
    for job in range(sweep.jobs):
        ours, theirs = sweep.folder(name, job), sweep.folder("straight", job)
        if tiny.summary(ours)["weights_sha256"] != tiny.summary(theirs)["weights_sha256"]:
            return f"job {job} has other weights"
        if tiny.metrics(ours) != tiny.metrics(theirs):
            return f"job {job} has other metrics"
    return None


def table(ending: Ending) -> str:
    """The results by group and what follows them, as printed at the end: all from the first empty line on."""
    _, _, found = ending.out.partition("\n\n")
    assert found.startswith("group "), ending.out
    return found


if __name__ == "__main__":
    main(torture, count=24, doc=__doc__, launcher=list(LAUNCHERS))
