"""The process in which a launcher's jobs run: it loads torch and reads the images once, and forks a child for each job.

A job may raise, exit, crash or hang; what ends is its child. The worker computes nothing itself and has one thread, for
a fork takes neither threads nor what they hold along. It listens to whoever started it, and ends when that one does.

Messages are JSON: `{"run": order, "variables": {...}}` starts a job with these variables of the environment,
`{"stop": true}` asks it to save and leave, `{"kill": true}` ends it at once. The answers are `{"status": null}` when it
has begun, and `{"status": n}` when it has ended, n being as `os.waitstatus_to_exitcode` has it.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from cnnbench.console import flush
from cnnbench.disk import data_root
from cnnbench.errors import CnnbenchError
from cnnbench.machine import die_first, die_with_parent, uncollected
from cnnbench.runs.format import OUTPUT
from cnnbench.runs.signals import ignore_signals, interrupting, listen_to

STOP = signal.SIGUSR1  # what a job hears: other signals go to all its processes, and would be a second one
SECONDS_BETWEEN_LOOKS = 0.02


def serve() -> None:
    """Runs jobs, one at a time, until the other end of the connection, which standard input is, is closed."""
    ignore_signals()
    die_with_parent()  # also while it loads, when nobody looks at the connection
    connection, worker = Connection(os.dup(0)), os.getpid()
    threads = load()
    images = Images()
    with suppress(EOFError, ConnectionError):
        while True:
            message = json.loads(connection.recv_bytes())
            if "run" not in message:
                continue  # it came when the job had just ended
            with suppress(OSError):  # a folder that is gone; what lies in it will be missed
                os.chdir(message["run"]["cwd"])
            os.environ.clear()
            os.environ.update(message["variables"])
            images.keep(message["run"]["config"]["data"])
            child = os.fork()
            if child == 0:
                live(message["run"], images, threads, worker)
            connection.send_bytes(json.dumps({"status": None}).encode())
            connection.send_bytes(json.dumps({"status": wait_for(child, connection)}).encode())


def load() -> int:
    """Imports what jobs need; gives back the threads that torch would take, of which none is started here."""
    with uncollected():  # the children do not copy what nobody looks at
        import torch

        importlib.import_module("cnnbench.experiment")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


class Images:
    """The data set of the last job, read: its children have it without reading."""

    def __init__(self) -> None:
        self._name = ""
        self.source: Any = None

    def keep(self, node: Mapping[str, Any]) -> None:
        """Finds and reads the data set that `config.data` names, unless it is the one at hand. What is wrong with it a
        job will say."""
        from cnnbench.data.find import find_data, read_once, source_settings

        name = json.dumps([source_settings(node), os.getcwd(), str(data_root(None))], sort_keys=True)
        if name == self._name:
            return
        self._name, self.source = "", None
        with suppress(CnnbenchError):
            self.source = read_once(find_data(node))
            self._name = name


def wait_for(child: int, connection: Connection) -> int:
    """How the child ended, which is stopped or killed meanwhile where that is asked for or nobody is there to ask."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        try:
            if connection.poll(SECONDS_BETWEEN_LOOKS):
                message = json.loads(connection.recv_bytes())
                os.kill(child, signal.SIGKILL if "kill" in message else STOP)
        except (EOFError, ConnectionError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise


def live(order: Mapping[str, Any], images: Images, threads: int, worker: int) -> NoReturn:
    """The life of a child: trains into the folder of the order, and ends without a return to the worker's own work."""
    exit_code, path = 1, Path(order["path"])
    try:
        die_with_parent()
        if os.getppid() != worker:  # it had ended before
            os._exit(exit_code)
        die_first()
        listen_to(STOP)
        redirect_output(path / OUTPUT)
        faulthandler.enable(2)
        with interrupting():
            train(order, images, threads)
        exit_code = 0
    except BaseException as error:  # SystemExit too: a job that leaves is a job that ended
        exit_code = record(path, error)
    finally:
        flush()
        os._exit(exit_code)


def train(order: Mapping[str, Any], images: Images, threads: int) -> None:
    """Begins the run, or goes on where it was left."""
    import torch

    from cnnbench.config.run_config import check_config
    from cnnbench.experiment import run_experiment

    sys.argv = ["cnnbench", *order["arguments"]]  # for environment.json
    torch.set_num_threads(threads)
    run_experiment(
        check_config(order["config"]),
        order["path"],
        source=images.source,
        resume=order["resume"],
        test=order["test"],
        pause_after=order["pause_after"],
        quiet=True,
    )


def record(path: Path, error: BaseException) -> int:
    """Notes how the job ended, where it did not come as far as to make its run folder; gives back its exit code."""
    from cnnbench.runs.folder import how_it_ended, record_failure

    with suppress(CnnbenchError):
        record_failure(path, error)
    return int(how_it_ended(error)["exit_code"])


def redirect_output(file: Path) -> None:
    """Sends what libraries print, and where a crash happened, to a file."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, standard)
    os.close(descriptor)
    os.close(nothing)


if __name__ == "__main__":
    serve()
