"""Damages files of run folders, then resumes, evaluates and verifies them: noticed, or without effect on the result.

python tests/torture/corrupt.py [--count 500] [--seed 0]
"""

import itertools
import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture import HANG_SECONDS, Ending, Report, fork, main, tiny

import cnnbench.trained.evaluate  # noqa: F401  (imported once, for all forked runs)
from cnnbench import cli, saving
from cnnbench.config.compose import compose
from cnnbench.config.run_config import RunConfig
from cnnbench.experiment import run_experiment
from cnnbench.recorder import Recorder

SETTINGS = [*tiny.TINY, "regularization=[ema]", "pruning=magnitude", "epochs=4", "checkpoint.every_seconds=0.001"]
SHARED = ("config.yaml", "metrics.jsonl", "summary.json", "checkpoints/manifest.json", "checkpoint")
FILES = {"resume": SHARED, "evaluate": SHARED, "verify": (*SHARED, "predictions.npz", "environment.json")}
EXPECTED_CODES = (0, 65)


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    numbers = random.Random(seed)
    whole = make_runs(folder)
    for number in range(count):
        verb = numbers.choice(list(FILES))
        damage_and_use(report, numbers, verb, folder, whole["stopped" if verb == "resume" else "straight"], number)


def make_runs(folder: Path) -> dict[str, Path]:
    """A finished run, and the same one killed half-way."""
    paths = {name: folder / name for name in ("straight", "stopped")}
    config = compose(SETTINGS)
    ending = fork(lambda: train(config, paths["straight"]), folder)
    assert ending.exit_code == 0, ending.err
    ending = fork(lambda: train(config, paths["stopped"], batches=15), folder)
    assert len(list(paths["stopped"].glob("checkpoints/*.pt"))) > 1, ending.err
    return paths


def train(config: RunConfig, path: Path, *, batches: int | None = None) -> int:
    """Trains, and saves at every chance; after so many batches the process is killed."""
    saving.LARGEST_SHARE, after_batch, seen = 1e9, Recorder.after_batch, itertools.count(1)

    def killed(self: Recorder, *arguments: Any) -> None:
        after_batch(self, *arguments)
        if next(seen) == batches:
            os.kill(os.getpid(), signal.SIGKILL)

    Recorder.after_batch = killed
    run_experiment(config, path)
    return 0


def damage_and_use(report: Report, numbers: random.Random, verb: str, folder: Path, whole: Path, number: int) -> None:
    path = Path(shutil.copytree(whole, folder / f"run{number}"))
    name = numbers.choice(FILES[verb])
    file = numbers.choice(sorted(path.glob("checkpoints/*.pt"))) if name == "checkpoint" else path / name
    damage = numbers.choice(list(DAMAGES))
    before = file.read_bytes()
    after = DAMAGES[damage](before, numbers)
    if after is None:
        file.unlink()
    else:
        file.write_bytes(after)
    ending = use(verb, path, folder)
    failure = judge(verb, ending, path, whole.parent / "straight", unchanged=after == before)
    outcome = f"{verb}: {'refused' if ending.exit_code == 65 else 'right result' if failure is None else 'wrong'}"
    report.note(outcome, failure and f"{number}: {verb}, {damage} of {file.name}: {failure}")
    shutil.rmtree(path)


def use(verb: str, path: Path, folder: Path) -> Ending:
    command = [verb, str(path), *(["--split", "val", "--json"] if verb == "evaluate" else [])]
    return fork(lambda: cli.run(command), folder)


def judge(verb: str, ending: Ending, path: Path, straight: Path, *, unchanged: bool) -> str | None:
    """What was wrong with the ending; None where the damage was named, or changed nothing."""
    if ending.exit_code is None or ending.seconds > HANG_SECONDS + 10:
        return f"hangs ({ending.seconds:.0f} s)"
    if ending.has_traceback or not ending.is_one_line or ending.exit_code not in EXPECTED_CODES:
        return f"exit code {ending.exit_code}: {ending.err.strip()[-300:]}"
    if ending.exit_code == 65:
        return None
    if verb == "verify":
        return None if unchanged else "not noticed"
    if verb == "evaluate" and not ending.err:
        answers = [json.loads(out) | {"run": None} for out in (ending.out, use(verb, straight, straight.parent).out)]
        return None if answers[0] == answers[1] else "another answer"
    if verb == "resume" and tiny.summary(path)["weights_sha256"] != tiny.summary(straight)["weights_sha256"]:
        return "other weights"
    if verb == "resume" and (tiny.metrics(path) != tiny.metrics(straight) or facts(path) != facts(straight)):
        return "other metrics or facts"
    return None


def facts(path: Path) -> dict[str, object]:
    """What a summary says that no clock decides."""
    measured = ("run_id", "files", "_seconds", "per_second", "latency", "memory", "time_to", "load_at")
    return {key: value for key, value in tiny.summary(path).items() if not any(word in key for word in measured)}


def _flip(content: bytes, numbers: random.Random) -> bytes:
    place = numbers.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << numbers.randrange(8)]) + content[place + 1 :]


def _zero(content: bytes, numbers: random.Random) -> bytes:
    start = numbers.randrange(len(content))
    block = content[start : start + 512]
    return content[:start] + bytes(len(block)) + content[start + len(block) :]


def _digit(content: bytes, numbers: random.Random) -> bytes:
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = numbers.choice(places or [0])
    return content[:place] + str(numbers.randrange(10)).encode() + content[place + 1 :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flip": _flip,
    "zeros": _zero,
    "digit": _digit,
    "cut": lambda content, numbers: content[: numbers.randrange(len(content))],
    "longer": lambda content, numbers: content + numbers.randbytes(9),
    "garbage": lambda content, numbers: numbers.randbytes(len(content)),
    "deletion": lambda content, numbers: None,
}


if __name__ == "__main__":
    main(torture, count=500, doc=__doc__)
