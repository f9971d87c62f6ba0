"""Every command that the README and docs/ print is run, on tiny data and with small numbers."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from printed import ROOT, printed

from cnnbench import cli

sys.path.insert(0, str(ROOT / "tests" / "docs"))
from prepared import train_runs, write_cifar10, write_cifar_photos, write_fashion_mnist, write_photos

FIRST_HOUR = "first_hour.md"  # one story, which its own test runs from the top to the bottom
INSTALLS, TYPED = "installs packages; .ci/run does it", "tests/commands/test_completion.py types it into the shell"
CLUSTER = "needs a cluster; tests/sweeps/test_launchers.py starts one"
OTHERS = "compares with frameworks of the extra `bench`; tests/benchmarks/test_ratios.py runs what needs none"
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/cnnbench train": INSTALLS,
    'python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" && .venv/bin/pytest': INSTALLS,
    "pip install hydra-joblib-launcher": "installs packages",
    "pip install hydra-submitit-launcher": "installs packages",
    "pip install ray": "installs packages",
    "pip install 'cnnbench[compress]'": "installs packages",
    "cnnbench train -m optimizer=sgd,adam 'seed=range(6)' sweep=slurm hydra.launcher.partition=gpu": CLUSTER,
    "cnnbench train -m optimizer=sgd,adam 'seed=range(6)' sweep=ray": CLUSTER,
    'pip install -e ".[bench]"': "installs packages",
    "pip install tensorboard mlflow-skinny wandb": "installs packages",
    'eval "$(cnnbench -sc install=bash)"': TYPED,
    'eval "$(cnnbench -sc install=zsh)"': TYPED,
    "cnnbench -sc install=fish | source": TYPED,
    "python tests/benchmarks/peers.py --models deep --steps 30 --rounds 5": OTHERS,
    "python tests/benchmarks/peers.py --models deep --steps 30 --rounds 5 --overhead": OTHERS,
}
"""Each printed command that is not run, and why."""

SLOW = (
    "cnnbench ablate data=fashion_mnist",
    "cnnbench ablate seeds=auto",
    "cnnbench ablate --table",
    "cnnbench bench",
    "cnnbench compare DIR outputs/smaller",
    "cnnbench compress",
    "cnnbench doctor",
    "cnnbench train -m 'experiment=",
    "python docs/results_table.py outputs/listings",
    *(
        f"python tests/benchmarks/{name}"
        for name in (
            "compressions",
            "first_sign",
            "many_runs",
            "peers",
            "policies",
            "processor",
            "scaling",
            "searches",
            "startup",
            "streaming",
            "suggestions",
            "sweep_cost",
            "time_to",
        )
    ),
    "python tests/torture/",
)
"""What the commands begin with that take more than a few seconds whatever their sizes: run with -m slow."""

TIMED = "python tests/benchmarks/time_to_accuracy.py"
FOLDER = "experiment=cifar10_fast data=image_folder data.root=cifar/train data.test_fraction=0"
BEFORE = {
    "cnnbench ablate --table outputs/articles --markdown": "cnnbench ablate seeds=auto data=fashion_mnist",
    "python docs/results_table.py outputs/listings": "cnnbench train -m 'experiment=glob",
    "python docs/results_table.py outputs/cifar": "cnnbench train -m model=deep,deep_residual",
    "cnnbench compress outputs/smaller": "cnnbench compress DIR -m compression=filters",
    "cnnbench compare DIR outputs/smaller": "cnnbench compress outputs/smaller",
    "cnnbench compress outputs/compression/trained": "cnnbench train -m model=deep 'seed=range(6)'",
    "cnnbench compress outputs/compression/longer": "cnnbench compress outputs/compression/trained compression=filters",
    "cnnbench compress --clock outputs/compression": "cnnbench compress outputs/compression/trained -m compression=f",
    "python tests/benchmarks/compressions.py": "cnnbench train -m model=deep 'seed=range(6)'",
    "cnnbench bench outputs/resnet": "cnnbench train model=resnet data=fashion_mnist",
    "cnnbench bench outputs/resnet outputs/deep": "cnnbench train model=deep data=fashion_mnist",
    f"{TIMED} experiment=fashion_fast --curve": f"{TIMED} experiment=fashion_fast --epochs",
    f"{TIMED} {FOLDER} --curve": f"{TIMED} {FOLDER} --epochs",
}
"""By what a command begins with, what the printed command begins with whose results it reads."""

SIZES = [
    (r"^(epochs|seeds)=\d+$", r"\1=1"),
    (r"^(seed)=\d+(,\d+)+$", r"\1=0"),
    (r"^(seed|data\.split_seed)=range\((?:0,)?\d+\)$", r"\1=0"),
    (r"^(search\.trials)=\d+$", r"\1=2"),
    (r"^seeds=auto$", "seeds=1"),
    (r"^(most_seeds|budget)=.*$", ""),
    (r"^(batch_size)=\d+(,\d+)*$", r"\1=8"),
    (r"^(data\.fraction)=.*$", r"\1=1.0"),
    (r"^(data\.val_fraction)=.*$", r"\1=0.1"),
    (r"^(hydra/launcher|hydra\.launcher\.n_jobs)=.*$", ""),  # one after the other
    (r"^device=cuda$", "device=cpu"),
]
"""What of a `cnnbench` command is made small; all else is run as it is printed."""
SCRIPT_SIZES = r"(--(?:steps|rounds|epochs|count|per-kind)) \d+"
ADDED = {
    "train": ["epochs=1"],
    "ablate": ["epochs=1", "seeds=1", "--yes"],  # nobody is there to answer
    "bench": ["--rounds=1", "data.train_images=64"],
    "docs/results_table.py": ["epochs=1"],
    "tests/benchmarks/error_rates.py": ["--experiments=3"],
    "tests/benchmarks/fronts.py": ["--experiments=20"],
    "tests/benchmarks/population.py": ["--experiments=3"],
    "tests/benchmarks/sequential.py": ["--experiments=20"],
    "tests/benchmarks/first_sign.py": ["--rounds=1"],
    "tests/benchmarks/many_runs.py": ["--runs=50", "--groups=5", "--broken=5"],
    "tests/benchmarks/policies.py": ["--rounds=1", "--steps=1", "--models=simple", "--conditions=busy"],
    "tests/benchmarks/processor.py": ["--rounds=1", "--steps=1"],
    "tests/benchmarks/searches.py": ["--trials=6", "--searches=1"],
    "tests/benchmarks/startup.py": ["--rounds=1"],
    "tests/benchmarks/sweep_cost.py": ["--rounds=1", "--jobs=2", "--seconds=0.3"],
}
"""What is added where the command does not say it, by verb or script."""
COMMANDS = list(dict.fromkeys(p.command for p in printed() if p.document != FIRST_HOUR))


def small(command):
    """The words of the command with its sizes made small."""
    words = shlex.split(re.sub(r"(--images) \d+", r"\1 200", re.sub(SCRIPT_SIZES, r"\1 1", command)))
    for pattern, replacement in SIZES if words[1] != "resume" else ():  # whose epochs have to be more than the run has
        words = [re.sub(pattern, replacement, word) for word in words]
    words = [word for word in words if word]
    given = {word.partition("=")[0] for word in words}
    added = [text for text in ADDED.get(words[1], []) if text.partition("=")[0] not in given]
    if words[1] == "bench" and not any("=" in word for word in words):  # runs, which take no settings
        added = [text for text in added if text.startswith("--")]
    if words[1] == "train" and not {"data", "experiment"} & given:
        added.append("data.fraction=0.1")  # of the digits
    place = words.index("--rows") if "--rows" in words else len(words)
    return words if {"--table", "--cfg"} & given else [*words[:place], *added, *words[place:]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with data sets, photographs, a run and a sweep."""
    folder, before = tmp_path_factory.mktemp("prepared"), os.getcwd()
    write_fashion_mnist(folder / "cache" / "cnnbench" / "FashionMNIST")
    write_cifar10(folder / "cache" / "cnnbench" / "cifar-10-batches-bin")
    place = folder / "place"
    write_photos(place / "photos", each=8)
    write_cifar_photos(place / "cifar" / "train")
    for name in ("a.png", "b.jpg"):
        shutil.copy(place / "photos" / "circle" / "circle-000.jpg", place / name)
    for name in ("docs", "tests"):
        (place / name).symlink_to(ROOT / name)
    os.chdir(place)
    try:
        train_runs(place)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def run(prepared, tmp_path, monkeypatch):
    """Runs a printed command, made small, in a copy of the prepared folder; gives back its exit code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(prepared / "cache"))
    monkeypatch.setattr("cnnbench.data.idx.DEBIAN_FASHION", tmp_path / "none")
    place = tmp_path / "place"
    shutil.copytree(prepared / "place", place, symlinks=True)
    monkeypatch.chdir(place)

    def run(command):
        words = small(command)
        if "-m" in words and "data=fashion_mnist" in words:  # jobs are children, which know of no patch
            words.append(f"data.root={prepared / 'cache' / 'cnnbench'}")
        if words[0] == "cnnbench":
            return cli.run(words[1:])
        variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        done = subprocess.run(
            [sys.executable, *words[1:]], env=variables, stdout=subprocess.PIPE, text=True, check=False
        )
        assert words[1] != "docs/results_table.py" or "\n| `" in done.stdout  # a table with a row
        return done.returncode

    return run


def test_what_is_not_run_is_printed_somewhere():
    assert [command for command in NOT_RUN if command not in COMMANDS] == []
    assert [text for text in (*SLOW, *BEFORE, *BEFORE.values()) if not any(c.startswith(text) for c in COMMANDS)] == []


def marked(command):
    return pytest.param(command, marks=[pytest.mark.slow] if command.startswith(SLOW) else [], id=command[:70])


@pytest.mark.parametrize("command", [marked(command) for command in COMMANDS if command not in NOT_RUN])
def test_a_printed_command_runs(run, command):
    run_with_what_it_needs(run, command)


def run_with_what_it_needs(run, command):
    for start, earlier in BEFORE.items():
        if command.startswith(start):
            run_with_what_it_needs(run, next(other for other in COMMANDS if other.startswith(earlier)))
    assert run(command) == 0
