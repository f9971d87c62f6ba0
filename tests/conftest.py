import os
import signal

import pytest
from tiny import TINY

from cnnbench import cli

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: tests run side by side, and threads would wait
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell without job control leaves it to what it puts behind
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children would respect it, and wait for ever


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine no test sees a line that says what is being waited for, but for those that ask for it."""
    monkeypatch.setattr("cnnbench.progress.PATIENCE", 3600.0)


@pytest.fixture
def cnnbench(capsys, tmp_path, monkeypatch):
    """Runs a command line in this process, in a folder of its own; gives back exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        exit_code = cli.run([str(argument) for argument in arguments])
        return exit_code, *capsys.readouterr()

    return run


@pytest.fixture
def train(cnnbench, tmp_path):
    """Trains the tiny run into `tmp_path / name`; gives back its folder after checking the exit code."""

    def run(name, *overrides, exit_code=0):
        path = tmp_path / name
        result = cnnbench("train", *TINY, f"hydra.run.dir='{path}'", *overrides)
        assert result[0] == exit_code, result
        return path

    return run
