"""What the torture scripts share: tries that are counted, a command run to its end, one JSON document.

A script is a module with `torture(report, count, seed, folder)`, which makes `count` tries drawn from `seed` in
`folder`, notes each in the report, and ends with `main(torture, count=..., doc=__doc__)`.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny as tiny  # for the scripts, which may be started from anywhere
from sweeps.broken import broken as broken

ROOT = Path(__file__).parents[2]
CNNBENCH = [sys.executable, "-c", "from cnnbench.cli import main; main()"]
HANG_SECONDS = 10.0  # beyond what the same command takes undisturbed


@dataclass
class Report:
    """How many tries had each outcome, and one line for every try that ended as it must not."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, outcome: str, failure: str | None = None) -> None:
        """Counts a try; `failure` says what was wrong with it, and how to repeat it."""
        self.outcomes[outcome] += 1
        if failure is not None:
            self.failures.append(failure)


@dataclass(frozen=True)
class Ending:
    """How a command ended; `exit_code` is None where it ran into its time limit, and negative for a signal."""

    exit_code: int | None
    out: str
    err: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.err + self.out

    @property
    def is_one_line(self) -> bool:
        """Whether stderr has `error:` lines and notes only."""
        return all(line.startswith(("error: ", "note: ")) for line in self.err.splitlines())


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """This process's variables, with a cache of its own in `folder` and one thread."""
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return os.environ | ours | variables


def run(arguments: Sequence[Any], folder: Path, *, limit: float = 60.0, env: Mapping[str, str] | None = None) -> Ending:
    """Runs `cnnbench` with these arguments in `folder`, killed after `limit` seconds."""
    command = [*CNNBENCH, *map(str, arguments)]
    started = time.monotonic()
    variables = dict(env or environment(folder))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
        exit_code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        exit_code = None
    texts = (text.decode("utf-8", "backslashreplace") for text in (out, err))
    return Ending(exit_code, *texts, time.monotonic() - started)


def fork(act: Callable[[], int], folder: Path, *, kill_after: float | None = None, limit: float = 60.0) -> Ending:
    """Calls `act` in a copy of this process, which spares it the imports; kills it, if told, with all it began.

    `act` gives back the exit code, as `cli.run` does. No training may have run in this process: threads are not copied.
    """
    started, outputs = time.monotonic(), [folder / "stdout", folder / "stderr"]
    for output in outputs:
        output.write_bytes(b"")
    child = os.fork()
    if child == 0:
        _act_and_leave(act, folder, outputs)
    deadline = started + (limit if kill_after is None else kill_after)
    exit_code = None
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.002)
    if ended[0]:
        exit_code = os.waitstatus_to_exitcode(ended[1])
    else:
        _kill(child)
        os.waitpid(child, 0)
    texts = (output.read_bytes().decode("utf-8", "backslashreplace") for output in outputs)
    return Ending(exit_code, *texts, time.monotonic() - started)


def _act_and_leave(act: Callable[[], int], folder: Path, outputs: Sequence[Path]) -> None:
    exit_code = 99
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for number, output in enumerate(outputs, 1):
            os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), number)
        exit_code = act()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code & 255)


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not have made its group yet
        with contextlib.suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)


def main(torture: Callable[..., None], *, count: int, doc: str, **choices: Sequence[str]) -> None:
    """Runs a script from the command line: prints one JSON document, and exits with 1 where a try failed.

    `choices` are options of the script's own, with the values that each takes, the first being its default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help=f"tries (default: {count})")
    parser.add_argument("--seed", type=int, default=0)
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    options = parser.parse_args()
    own = {name: getattr(options, name) for name in choices}
    report, started = Report(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cnnbench-torture-") as folder:
        torture(report, options.count, options.seed, Path(folder), **own)
    document = {
        "count": options.count,
        "seed": options.seed,
        **own,
        "seconds": round(time.monotonic() - started, 1),
        "outcomes": dict(report.outcomes.most_common()),
        "failures": report.failures,
    }
    print(json.dumps(document, indent=2))
    sys.exit(bool(report.failures))
