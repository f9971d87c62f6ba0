import importlib
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest

from cnnbench.errors import DiskError, Interrupted
from cnnbench.runs.signals import ONE_REQUEST, STOPPING, StopSignals, held, interrupting

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from cnnbench.errors import Interrupted
from cnnbench.runs.signals import StopSignals
with StopSignals() as signals:
    print("ready", flush=True)
    while signals.received is None:
        time.sleep(0.005)
    print(int(signals.received), flush=True)
    time.sleep(float(sys.argv[1]))
sys.exit(Interrupted(signals.received).exit_code)
"""


@contextmanager
def started(seconds):
    """A process that waits for a signal, says which it took it for, works on for `seconds`, and leaves."""
    command = [sys.executable, "-c", SCRIPT, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("sent", "received", "exit_code"),
    [
        ("SIGINT", 2, 130),
        ("SIGTERM", 15, 143),
        ("SIGHUP", 15, 143),
        ("SIGUSR1", 15, 143),
        ("SIGUSR2", 15, 143),
    ],
)
def test_the_first_signal_is_remembered_and_gives_its_exit_code(sent, received, exit_code):
    with started(seconds=0) as process:
        process.send_signal(getattr(signal, sent))
        assert process.stdout.readline() == f"{received}\n"
        assert process.wait(10) == exit_code


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_second_signal_of_any_kind_ends_the_process_at_once_with_its_own_code(second):
    with started(seconds=60) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "15\n"
        time.sleep(0 if second == "SIGINT" else 1.1 * ONE_REQUEST)
        process.send_signal(getattr(signal, second))
        assert process.wait(10) == -getattr(signal, second)  # a shell shows 128 + the number


def test_a_burst_of_signals_is_one_request():
    with started(seconds=0.3) as process:
        for name in ("SIGTERM", "SIGUSR2", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            time.sleep(0.01)
        assert process.stdout.readline() == "15\n"
        assert process.wait(10) == 143


def test_the_handlers_of_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in STOPPING]
    with StopSignals() as signals:
        assert [signal.getsignal(number) for number in STOPPING] == [signals._receive] * len(STOPPING)
        signal.raise_signal(signal.SIGUSR1)
        assert signals.received == signal.SIGTERM
    assert [signal.getsignal(number) for number in STOPPING] == before


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_interrupting_raises_where_the_signal_arrives_whatever_handles_failures(number, exit_code):
    before = [signal.getsignal(number) for number in STOPPING]
    with pytest.raises(Interrupted, match="stopped") as caught, interrupting(), suppress(Exception):
        signal.raise_signal(number)
    assert caught.value.exit_code == exit_code
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_an_interruption_crosses_processes_whole():
    copy = ForkingPickler.loads(ForkingPickler.dumps(Interrupted(15, "stopped")))
    assert (copy.exit_code, copy.findings, str(copy)) == (143, ("stopped",), "stopped")


class Dropping:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_arrives_in_a_destructor_is_not_lost_nor_printed(capsys):
    def work():
        Dropping()  # is destroyed at once
        time.sleep(10)

    with pytest.raises(Interrupted), interrupting():
        work()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_that_arrives_in_an_import_waits_for_its_end(times, tmp_path, monkeypatch):
    name = f"interrupted_{times}"
    (tmp_path / f"{name}.py").write_text("import signal\n" + "signal.raise_signal(2)\n" * times)
    monkeypatch.syspath_prepend(tmp_path)

    def work():
        importlib.import_module(name)
        time.sleep(10)

    with pytest.raises(Interrupted), interrupting():
        work()
    assert sys.modules.pop(name)  # its import was not cut short


@pytest.mark.parametrize(("made_of_it", "ends_with"), [(KeyError, Interrupted), (DiskError, DiskError)])
def test_a_signal_that_a_library_takes_for_a_failure_of_its_own_is_still_one(made_of_it, ends_with):
    def library():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise made_of_it("x") from None

    with pytest.raises(ends_with), interrupting():
        library()


def test_work_that_itself_is_part_of_an_import_is_interrupted_too(tmp_path, monkeypatch):
    (tmp_path / "experiment.py").write_text(
        "import signal, time\nfrom cnnbench.runs.signals import interrupting\n"
        "with interrupting():\n    signal.raise_signal(2)\n    time.sleep(10)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    started = time.monotonic()
    with pytest.raises(Interrupted):
        importlib.import_module("experiment")
    assert time.monotonic() - started < 9


def test_a_signal_is_held_until_the_work_is_done():
    done = []

    def work():
        with held():
            signal.raise_signal(signal.SIGTERM)
            done.append("first half")
            done.append("second half")
        done.append("what comes after")

    with pytest.raises(Interrupted), interrupting():
        work()
    assert done == ["first half", "second half"]


def test_what_the_process_was_started_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interrupting(), held(), StopSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_no_handler_is_set_and_nothing_breaks():
    before = [signal.getsignal(number) for number in STOPPING]
    seen = []

    def work():
        with StopSignals() as signals:
            seen.extend([signals.received, [signal.getsignal(number) for number in STOPPING]])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, before]
