"""Unusual surroundings, each a named try: no traceback, no hang, and the exit code that says what is the matter.

python tests/torture/places.py [--count 34] [--seed 0]
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torture import CNNBENCH, HANG_SECONDS, Report, environment, main, run

TINY = ["device=cpu", "device.threads=1", "model.widths=[4]", "model.hidden=8", "epochs=1", "hydra.run.dir=run"]
DIGITS = ["train", *TINY, "data=synthetic", "data.image_shape=[1,8,8]", "data.train_images=64", "data.test_images=16"]
OWN_MODEL = [*DIGITS, "--config-dir", "mine", "model=mine"]
AUTO = ["device=auto" if argument == "device=cpu" else argument for argument in DIGITS]
FOLDER = ["train", *TINY, "data=image_folder", "data.root=images", "data.workers=0"]


def nothing(_: Path) -> None:
    """The folder as it is."""


@dataclass(frozen=True)
class Place:
    """A command in surroundings made by `prepare` and `shell`; `exit_codes` are those that are right."""

    arguments: list[str]
    exit_codes: tuple[int, ...]
    prepare: Callable[[Path], None] = nothing
    shell: str = 'exec "$@"'
    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


def pipe(*names: str) -> Callable[[Path], None]:
    """Puts pipes in the place of these files."""

    def prepare(place: Path) -> None:
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).unlink(missing_ok=True)
            os.mkfifo(place / name)

    return prepare


def link_to_itself(*names: str) -> Callable[[Path], None]:
    """Puts links that lead to themselves there."""

    def prepare(place: Path) -> None:
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to(Path(name).name)

    return prepare


def write(name: str, content: str) -> Callable[[Path], None]:
    """Writes a file there."""

    def prepare(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)

    return prepare


def strange_names(place: Path) -> None:
    """Gives an image a name that is no UTF-8."""
    os.rename(place / "images" / "cat" / "0.png", os.fsencode(place / "images" / "cat") + b"/\xff\xfe.png")


HERE = {
    "stdout closed": Place(DIGITS, (0,), shell='exec "$@" >&-'),
    "stderr closed": Place(DIGITS, (0,), shell='exec "$@" 2>&-'),
    "stdin closed": Place(DIGITS, (0,), shell='exec "$@" <&-'),
    "all closed": Place(DIGITS, (0,), shell='exec "$@" <&- >&- 2>&-'),
    "stdout full": Place(DIGITS, (74,), shell='exec "$@" >/dev/full'),
    "stderr full": Place(DIGITS, (0,), shell='exec "$@" 2>/dev/full'),
    "json to a full stdout": Place(["list", "--json"], (74,), shell='exec "$@" >/dev/full'),
    "no home": Place(DIGITS, (0,), without=("HOME", "XDG_CACHE_HOME"), variables={"HOME": "/nowhere"}),
    "home of nobody": Place(["data", "mnist", "data.root=~nobody-here/x"], (2,)),
    "cache read-only": Place(AUTO, (0,), variables={"XDG_CACHE_HOME": "/proc"}),
    "temporary folder missing": Place(DIGITS, (0,), variables={"TMPDIR": "/nowhere"}),
    "pipe among images": Place(FOLDER, (0,), pipe("images/cat/9.png")),
    "device among images": Place(FOLDER, (65,), lambda place: (place / "images/cat/9.png").symlink_to("/dev/zero")),
    "link to itself among images": Place(FOLDER, (65,), link_to_itself("images/cat/9.png")),
    "link to itself among classes": Place(FOLDER, (0,), link_to_itself("images/loop")),
    "name that is no UTF-8": Place(FOLDER, (0,), strange_names),
    "pipe to predict": Place(["predict", "done", "pipe.png"], (65,), pipe("pipe.png")),
    "summary a pipe": Place(["resume", "done"], (65,), pipe("done/summary.json")),
    "config a pipe": Place(["evaluate", "done"], (65,), pipe("done/config.yaml")),
    "manifest a pipe": Place(["evaluate", "done"], (65,), pipe("done/checkpoints/manifest.json")),
    "predictions a pipe": Place(["compare", "done", "--predictions"], (0, 65), pipe("done/predictions.npz")),
    "metrics a pipe": Place(["report", "done"], (0, 65), pipe("done/metrics.jsonl")),
    "environment a pipe": Place(["report", "done"], (0,), pipe("done/environment.json")),
    "link to itself among runs": Place(["compare", "."], (0,), link_to_itself("loop", "more/loop")),
    "plan of an ablation a pipe": Place(["ablate", "--table", "abl"], (65,), pipe("abl/ablation.json")),
    "deep YAML": Place(OWN_MODEL, (2,), write("mine/model/mine.yaml", "[" * 90 + "]" * 90)),
    "aliased YAML": Place(OWN_MODEL, (2,), write("mine/model/mine.yaml", "a: &a [1]\nb: [*a]")),
    "YAML a pipe": Place(OWN_MODEL, (2,), pipe("mine/model/mine.yaml")),
    "metrics without a summary": Place(DIGITS, (65,), write("run/metrics.jsonl", "{}\n")),
    "too many threads": Place([*DIGITS, "device.threads=100000"], (2,)),
    "ASCII locale": Place(DIGITS, (0,), variables={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "one column": Place(DIGITS, (0,), variables={"COLUMNS": "1", "TERM": "dumb"}),
    "few open files": Place(DIGITS, (0, 74), shell='ulimit -n 24; exec "$@"'),
    "folder deleted": Place(["list"], (74,), shell='mkdir gone && cd gone && rmdir ../gone && exec "$@"'),
}


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    """Makes `count` tries: all of them in turn, from a random one on."""
    write_images(folder / "start" / "images")
    done = run([*DIGITS[:-1], "data.test_images=16"], folder / "start", limit=300, env=environment(folder))
    assert done.exit_code == 0, done
    (folder / "start" / "run").rename(folder / "start" / "done")
    names, first = list(HERE), random.Random(seed).randrange(len(HERE))
    for number in range(count):
        name = names[(first + number) % len(names)]
        place = folder / f"{number}"
        shutil.copytree(folder / "start", place)
        report.note(*attempt(name, HERE[name], place, done.seconds))


def attempt(name: str, here: Place, place: Path, usual_seconds: float) -> tuple[str, str | None]:
    """What happened in a place, and what was wrong with it."""
    here.prepare(place)
    env = {key: value for key, value in environment(place).items() if key not in here.without} | here.variables
    command = ["sh", "-c", here.shell, "sh", *CNNBENCH, *here.arguments]
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=usual_seconds + HANG_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return "hang", f"{name}: still there after {time.monotonic() - started:.0f} s"
    text = (output + errors).decode("utf-8", "backslashreplace")
    if "Traceback" in text or "a bug of cnnbench" in text:
        return "traceback", f"{name}: {text}"
    if process.returncode not in here.exit_codes:
        return "wrong code", f"{name}: exit code {process.returncode}, not {here.exit_codes}; {text}"
    return f"exit code {process.returncode}", None


def write_images(root: Path) -> None:
    """Two classes of 8 PNG images of noise."""
    noise = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8)).save(root / label / f"{number}.png")


if __name__ == "__main__":
    main(torture, count=len(HERE), doc=__doc__)
