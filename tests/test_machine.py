import gc
import os
import subprocess
import sys
import time

import pytest

from cnnbench.machine import STAT, Load, LoadMeter, describe_environment, load_per_processor, uncollected

needs_linux = pytest.mark.skipif(not STAT.exists(), reason="no /proc/stat")


@needs_linux
def test_our_own_work_is_not_load(monkeypatch, tmp_path):
    core, second = min(os.sched_getaffinity(0)), os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {core})
    counted = tmp_path / "stat"
    monkeypatch.setattr("cnnbench.machine.STAT", counted)
    own = os.times().user
    counted.write_text(f"cpu{core} {round(own * second)} 0 0 0 0 0 0 0 0 0\n")
    meter = LoadMeter()
    while os.times().user < own + 0.5:  # half a second of work
        pass
    counted.write_text(f"cpu{core} {round(os.times().user * second)} 0 0 0 0 0 0 0 0 0\n")  # all of it ours
    assert meter.load().busy_cores < 0.1


@needs_linux
def test_a_spinning_process_is_load():
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        meter = LoadMeter()
        time.sleep(1)
        assert meter.load().busy_cores > 0.3  # it shares the cores with whatever else runs
    finally:
        spinner.kill()
        spinner.wait()


@needs_linux
def test_stolen_time_is_no_busy_core(monkeypatch, tmp_path):
    core, second = min(os.sched_getaffinity(0)), os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {core})
    counted = tmp_path / "stat"
    monkeypatch.setattr("cnnbench.machine.STAT", counted)
    counted.write_text(f"cpu{core} 500 0 0 1000 0 0 0 0 0 0\ncpu999 0 0 0 0 0 0 0 0 0 0\n")
    meter = LoadMeter()
    time.sleep(0.2)
    counted.write_text(f"cpu{core} 500 0 0 1000 0 0 0 {second} 0 0\ncpu999 0 0 0 0 0 0 0 0 0 0\n")
    load = meter.load()
    assert load.busy_cores == 0
    assert load.stolen == 1


def test_where_the_system_does_not_count_the_load_average_serves(monkeypatch, tmp_path):
    monkeypatch.setattr("cnnbench.machine.STAT", tmp_path / "none")
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert LoadMeter().load() == Load(1.5)


def test_the_load_of_the_last_minute_is_shared_by_all_processors(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 9.0, 9.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert load_per_processor() == 0.75
    monkeypatch.delattr(os, "getloadavg")
    assert load_per_processor() is None


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


def test_the_collector_rests_while_modules_are_loaded_and_never_looks_at_them():
    frozen = gc.get_freeze_count()
    try:
        with uncollected():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(kept)
    finally:
        gc.unfreeze()
