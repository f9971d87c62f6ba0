"""Kills small trainings with SIGKILL at random moments, resumes them until they are done, and compares the bits.

    python tests/torture/kills.py [--count 500] [--seed 0]

A try is one kill. Half of the runs save at every chance, so that many kills hit a write; the others as they ship.
"""

import functools
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torture import Ending, Report, fork, main, tiny

from cnnbench import cli, saving
from cnnbench.config.compose import compose
from cnnbench.config.run_config import RunConfig
from cnnbench.experiment import run_experiment
from cnnbench.speed import latency

VARIANTS = {
    "pruning": ["pruning=magnitude", "epochs=4"],
    "ema": ["regularization=[ema,mixup]", "model.dropout=0.2", "epochs=4"],
    "bf16": ["device.precision=bf16", "model.norm=batch", "augmentation=crop_flip", "epochs=4"],
    "muon": ["optimizer=muon", "regularization=[swa,lookahead]", "epochs=4"],
    "workers": ["epochs=4"],
}
STREAMED = ["data=image_folder", "data.resident=never", "data.pack=false"]


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    numbers = random.Random(seed)
    latency.LATENCY_SECONDS = 0.01  # what comes after the training is not what is tried
    make_images(folder / "images")
    configs = {name: compose(settings(name, folder / "images")) for name in VARIANTS}
    straight: dict[str, tuple[Path, float]] = {}
    for number in itertools.count():
        if sum(report.outcomes.values()) >= count:
            return
        variant = numbers.choice(list(VARIANTS))
        if variant not in straight:
            path = folder / f"straight-{variant}"
            ending = fork(train(configs[variant], path), folder)
            assert ending.exit_code == 0, ending.err
            straight[variant] = path, ending.seconds
        kill_and_resume(report, numbers, configs[variant], *straight[variant], folder / f"run{number}")


def settings(variant: str, images: Path) -> list[str]:
    ours = [setting for setting in tiny.TINY if variant != "workers" or not setting.startswith("data")]
    return [*ours, *([f"data.root={images}", *STREAMED] if variant == "workers" else []), *VARIANTS[variant]]


def make_images(folder: Path) -> None:
    for number in range(60):
        tiny.write_image(folder / "ab"[number % 2] / f"{number}.png", (8, 8, 3))


def train(config: RunConfig, path: Path) -> Callable[[], int]:
    """What `cnnbench train` does once Hydra has composed the config."""

    def act() -> int:
        run_experiment(config, path)
        return 0

    return act


def kill_and_resume(
    report: Report, numbers: random.Random, config: RunConfig, straight: Path, seconds: float, path: Path
) -> None:
    """One run, killed once or more; every kill is a try of its outcome."""
    eager = numbers.random() < 0.5
    saving.LARGEST_SHARE = 1e9 if eager else 0.01
    workers = {"workers": numbers.choice((0, 2))} if "workers" in config.data else {}
    often = {"every_seconds": 0.001} if eager else {}
    config = replace(config, data=config.data | workers, checkpoint=config.checkpoint | often)
    act, kills = train(config, path), []
    while True:
        delay = numbers.uniform(0.0, seconds) if not kills or numbers.random() < 0.6 else None
        ending = fork(act, path.parent, kill_after=delay)
        if delay is None or ending.exit_code is not None:
            break
        kills.append(round(delay, 3))
        if (path / "summary.json").exists():
            act = functools.partial(cli.run, ["resume", str(path)])
    failure = judge(ending, path, straight)
    said = failure and f"{straight.name}, {path.name}, eager={eager}, killed after {kills}: {failure}"
    for _ in kills or range(failure is not None):
        report.note("identical" if said is None else "lost", said)


def judge(ending: Ending, path: Path, straight: Path) -> str | None:
    """What was lost; None where the run ended as the one that nobody killed."""
    if ending.exit_code != 0:
        return f"ended with {ending.exit_code}: {ending.err.strip()[-300:]}"
    if tiny.summary(path)["weights_sha256"] != tiny.summary(straight)["weights_sha256"]:
        return "other weights"
    return None if tiny.metrics(path) == tiny.metrics(straight) else "other metrics"


if __name__ == "__main__":
    main(torture, count=500, doc=__doc__)
