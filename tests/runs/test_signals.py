import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from cnnbench.errors import Interrupted
from cnnbench.runs.signals import STOPPING, StopSignals

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from cnnbench.runs.signals import StopSignals
with StopSignals() as signals:
    print("ready", flush=True)
    while signals.received is None:
        time.sleep(0.005)
    print(int(signals.received), flush=True)
    time.sleep(float(sys.argv[1]))
try:
    signals.raise_interrupted("stopped")
except Exception as error:
    sys.exit(error.exit_code)
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
    [("SIGINT", 2, 130), ("SIGTERM", 15, 143), ("SIGUSR1", 15, 143), ("SIGUSR2", 15, 143)],
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
        process.send_signal(getattr(signal, second))
        assert process.wait(10) == -getattr(signal, second)  # a shell shows 128 + the number


def test_the_handlers_of_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in STOPPING]
    with StopSignals() as signals:
        assert [signal.getsignal(number) for number in STOPPING] == [signals._receive] * len(STOPPING)
        signal.raise_signal(signal.SIGUSR1)
        assert signals.received == signal.SIGTERM
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_raise_interrupted_says_the_message_and_the_code():
    signals = StopSignals()
    signals.received = signal.SIGINT
    with pytest.raises(Interrupted, match="go on with") as caught:
        signals.raise_interrupted("go on with: x")
    assert caught.value.exit_code == 130


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
