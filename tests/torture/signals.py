"""Stop signals at random moments, from the start of a process to its end, to it or to its whole process group.

    python tests/torture/signals.py [--count 240] [--seed 0]

Each try must exit with 130 or 143 and say one line, or have ended before the signal; leave no run "running"; and an
interrupted training must resume to the weights of an undisturbed one. A process that has not come as far as to listen,
or is leaving already, may be ended by the signal itself, without a line; before our first line, by Python's traceback.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torture import CNNBENCH, HANG_SECONDS, Report, environment, main, run

TINY = ["device=cpu", "device.threads=1", "model.widths=[4]", "model.hidden=8", "batch_size=16", "epochs=3"]
NUMBERS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
EXPECTED = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGUSR1": 143}
NOTES = ("note: packing ", "note: seeds=")  # what a verb may say besides


@dataclass(frozen=True)
class Scene:
    """A command line to be disturbed. `train` and `resume` leave a run in `run` that has to end at `weights`."""

    name: str
    arguments: Sequence[str]
    weights: str | None = None
    seconds: float = 0.0


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    """Sends `count` signals."""
    draw = random.Random(seed)
    write_images(folder / "images")
    scenes = make_scenes(folder)
    for number in range(count):
        if number < len(scenes):
            scenes[number] = rehearse(scenes[number], folder)
        scene = scenes[number % len(scenes)]
        name, group = draw.choice(NUMBERS), draw.random() < 0.5
        delay = draw.uniform(0, 1.05 * scene.seconds)
        place = folder / f"{number}"
        place.mkdir()
        what = f"{number} {scene.name}: {name} after {delay:.3f} s to the {'group' if group else 'process'}"
        outcome, wrong = disturb(scene, place, name, group, delay)
        report.note(f"{scene.name}: {outcome}", f"{what}: {wrong}" if wrong else None)


def make_scenes(folder: Path) -> list[Scene]:
    """What is disturbed."""
    files = ["data=image_folder", f"data.root={folder / 'images'}", "data.resident=never", "data.pack=false"]
    packed = ["data=image_folder", f"data.root={folder / 'images'}", "data.resident=never", "data.pack=true"]
    synthetic = ["data=synthetic", "data.image_shape=[1,8,8]", "data.train_images=200", "data.test_images=30"]
    into = "hydra.run.dir=run"
    sweep = ["seed=0,1", "hydra.sweep.dir=sweep"]
    ablate = ["techniques=[l1]", "seeds=1", "--yes", "hydra.sweep.dir=sweep"]
    return [
        Scene("train", ["train", *TINY, *synthetic, into]),
        Scene("train, 0 workers", ["train", *TINY, *files, "data.workers=0", into]),
        Scene("train, 2 workers", ["train", *TINY, *files, "data.workers=2", into]),
        Scene("pack", ["train", *TINY, *packed, "data.workers=0", into]),
        Scene("advisor", ["train", *TINY, *synthetic, "device=auto", "device.precision=auto", into]),
        Scene("resume", ["resume", "run"]),
        Scene("sweep", ["train", "-m", *TINY, *synthetic, *sweep]),
        Scene("ablate", ["ablate", *TINY[:-1], *synthetic, "epochs=2", *ablate]),
        Scene("evaluate", ["evaluate", "run"]),
    ]


def rehearse(scene: Scene, folder: Path) -> Scene:
    """The scene with how long it takes undisturbed and the weights that its run ends at."""
    place = folder / scene.name
    place.mkdir()
    prepare(scene, place)
    ending = run(scene.arguments, place, limit=300, env=variables(place))
    assert ending.exit_code == 0, ending
    weights = summaries(place)[0]["weights_sha256"] if (place / "run").exists() else None
    return Scene(scene.name, scene.arguments, weights, ending.seconds)


def prepare(scene: Scene, place: Path) -> None:
    """Puts the run there that `resume` and `evaluate` need; for `resume` as it was before its last epoch."""
    if scene.name not in ("resume", "evaluate"):
        return
    shutil.copytree(place.parent / "train" / "run", place / "run")
    if scene.name == "resume":
        manifest = place / "run" / "checkpoints" / "manifest.json"
        document = json.loads(manifest.read_text())
        document["checkpoints"] = document["checkpoints"][:1]
        manifest.write_text(json.dumps(document))
        file = place / "run" / "summary.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "interrupted"}))


def disturb(scene: Scene, place: Path, name: str, group: bool, delay: float) -> tuple[str, str | None]:
    """Runs the scene, sends the signal; gives back what happened, and what was wrong with it."""
    prepare(scene, place)
    process = subprocess.Popen(
        [*CNNBENCH, *scene.arguments],
        cwd=place,
        env=variables(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(process.pid, getattr(signal, name))
    sent = time.monotonic()
    try:
        _, err = process.communicate(timeout=scene.seconds + HANG_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "hang", f"still there {time.monotonic() - sent:.0f} s after the signal"
    return judge(scene, place, name, process.returncode, err)


def judge(scene: Scene, place: Path, name: str, exit_code: int, err: str) -> tuple[str, str | None]:
    """What happened, and what was wrong with it."""
    lines = [line for line in err.splitlines() if not line.startswith(NOTES)]
    found = summaries(place)
    if any(summary["status"] == "running" for summary in found):
        return "running", f"exit code {exit_code}, a run is said to be running; {err}"
    if exit_code == 0:
        return "ended before", "; ".join(lines) or None
    if lines[-1:] == ["KeyboardInterrupt"] and ", in main" not in err:  # Python's, before our first line
        return "by default", None
    if exit_code == -getattr(signal, name):
        return "by default", "; ".join(lines) or None
    if exit_code != EXPECTED[name]:
        return "wrong code", f"exit code {exit_code}; {err}"
    if len(lines) != 1 or not lines[0].startswith("note: stopped"):
        return "wrong lines", err
    wrong = continued(scene, place) if "cnnbench resume" in lines[0] and scene.weights else None
    return "interrupted" if found else "stopped before a run began", wrong


def continued(scene: Scene, place: Path) -> str | None:
    """What is wrong with the run after it was resumed; of one that had not saved yet nothing is asked here."""
    if not (place / "run" / "checkpoints" / "manifest.json").exists():
        return None
    ending = run(["resume", "run"], place, limit=300, env=variables(place))
    weights = summaries(place)[0]["weights_sha256"]
    if ending.exit_code != 0 or weights != scene.weights:
        return f"resumed with {ending.exit_code} to {weights}, not {scene.weights}; {ending.err}"
    return None


def summaries(place: Path) -> list[dict[str, str]]:
    """What the runs in and below a folder say of themselves."""
    return [json.loads(path.read_text()) for path in sorted(place.rglob("summary.json"))]


def variables(place: Path) -> dict[str, str]:
    """The environment of a try: a cache of its own, so that packing and advising are done anew."""
    return environment(place)


def write_images(root: Path) -> None:
    """Two classes of 60 PNG images of noise."""
    noise = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(60):
            pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:03}.png")


if __name__ == "__main__":
    main(torture, count=240, doc=__doc__)
