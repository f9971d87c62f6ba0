"""The command line in a process of its own, and how tests wait for what it does."""

import os
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 180
ROOT = Path(__file__).parents[1]


def start(*arguments, cwd, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", "from cnnbench.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
    )


def run(*arguments, cwd, **environment):
    """The exit code, stdout and stderr of a command line that comes to its end."""
    process = start(*arguments, cwd=cwd, **environment)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def wait_until(is_so, process):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
