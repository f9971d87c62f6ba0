import os
import subprocess
import sys
import time

import pytest

from cnnbench.machine import STAT, LoadMeter, describe_environment

needs_linux = pytest.mark.skipif(not STAT.exists(), reason="no /proc/stat")


@needs_linux
def test_our_own_work_is_not_load(monkeypatch):
    meter = LoadMeter()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    assert meter.busy_cores() <= len(os.sched_getaffinity(0)) - 0.5  # one core was ours


@needs_linux
def test_a_spinning_process_is_load():
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        meter = LoadMeter()
        time.sleep(1)
        assert meter.busy_cores() > 0.3  # it shares the cores with whatever else runs
    finally:
        spinner.kill()
        spinner.wait()


def test_where_the_system_does_not_count_the_load_average_serves(monkeypatch, tmp_path):
    monkeypatch.setattr("cnnbench.machine.STAT", tmp_path / "none")
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert LoadMeter().busy_cores() == 1.5


def test_a_run_that_is_killed_leaves_no_lock_in_the_repository_it_asks(monkeypatch):
    run, commands = subprocess.run, []

    def noting(command, **options):
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", noting)
    describe_environment("cnnbench train")
    git = [command for command in commands if command[0] == "git"]
    assert git
    assert all(command[1] == "--no-optional-locks" for command in git)
