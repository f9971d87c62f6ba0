"""This machine: processor, cores, memory, load, versions, git. The one reader of /proc."""

import ctypes
import gc
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cnnbench import __version__


def describe_environment(command: str) -> dict[str, Any]:
    """Where and how a run was started: versions, machine, load, git commit, command line."""
    commit, dirty = _git_state()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "git_commit": commit,
        "git_dirty": dirty,
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_machine() -> dict[str, Any]:
    """Python, processor, memory and load."""
    return {
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": round(os.getloadavg()[0], 2),
    }


def load_per_processor() -> float | None:
    """The processes that were ready to run in the last minute, for each processor of this machine, with our own; None
    where the system does not count them."""
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 3) if hasattr(os, "getloadavg") else None


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> tuple[str | None, bool | None]:
    """The commit of the source tree cnnbench runs from, and whether it has changes; None where it is no checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]  # killed, it would leave a lock
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        if not Path(git("rev-parse", "--show-toplevel"), "cnnbench", "machine.py").samefile(__file__):
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


STAT = Path("/proc/stat")
IDLE_COLUMNS = (3, 4)  # idle, iowait: proc(5)
STEAL_COLUMN = 7
GUEST_COLUMNS = (8, 9)  # counted in user and nice already
SHORTEST_SECONDS = 0.1  # the counters advance in hundredths of a second


@dataclass(frozen=True)
class Load:
    """What else happens on the cores that this process may use.

    Attributes:
        busy_cores: how many of them other processes of this machine keep busy.
        stolen: the share of their time, in [0, 1], that the hypervisor gives to other machines; of this, fewer threads
            lose no less.
    """

    busy_cores: float
    stolen: float = 0.0


class LoadMeter:
    """Counts, from when it is made, the processor time that others use of the cores this process may use."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._others = _others_seconds()

    def load(self) -> Load:
        """The load since then; waits until a tenth of a second has passed.

        Where the system does not count by core, its load average of the last minute.
        """
        if self._others is None:
            return Load(os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0)
        time.sleep(max(0.0, self._start + SHORTEST_SECONDS - time.monotonic()))
        now, elapsed = _others_seconds(), time.monotonic() - self._start
        assert now is not None
        busy, stolen = (max(0.0, (after - before) / elapsed) for before, after in zip(self._others, now, strict=True))
        return Load(busy, min(stolen / available_cores(), 1.0))


def _others_seconds() -> tuple[float, float] | None:
    """Seconds so far that others used of this process's cores, and that were stolen; None where nothing tells them."""
    if not STAT.exists() or not hasattr(os, "sched_getaffinity"):
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = stolen = 0
    for line in STAT.read_text().splitlines():
        name, *columns = line.split()
        if name in ours:
            ticks = dict(enumerate(map(int, columns)))
            stolen += ticks.pop(STEAL_COLUMN, 0)
            busy += sum(count for column, count in ticks.items() if column not in (*IDLE_COLUMNS, *GUEST_COLUMNS))
    own, second = os.times(), os.sysconf("SC_CLK_TCK")
    return busy / second - own.user - own.system, stolen / second


def available_memory() -> int:
    """Bytes that can be used without swapping: Linux's estimate, elsewhere half of all memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


SELF = Path("/proc/self")
PR_SET_PDEATHSIG = 1  # prctl(2)
FIRST_TO_GO = "1000"  # proc(5), oom_score_adj


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps Python's collector of cycles from what is imported here, which stays to the end: looking at it again and
    again takes a fifth of the import of torch, and as long once more when the process ends."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def die_with_parent() -> None:
    """Has Linux kill this process when the one that started it ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def die_first() -> None:
    """Has Linux, where memory is short, kill this process rather than others."""
    with suppress(OSError):
        (SELF / "oom_score_adj").write_text(FIRST_TO_GO)


def memory_bytes() -> int:
    """What this process has in memory now; 0 where the system does not tell."""
    return _status_bytes("VmRSS") or 0


def peak_memory_bytes() -> int:
    """The most memory this process had since `reset_peak_memory`; where that is not possible, since it began."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status_bytes("VmHWM") or (kilobytes if sys.platform == "darwin" else kilobytes * 1024)


def reset_peak_memory() -> bool:
    """Lets the peak start anew from what is in use now; says whether the system can: Linux, on the process's own word.

    What has been freed but kept for later is given back first: it would hide what is taken next.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        (SELF / "clear_refs").write_text("5")
    except (AttributeError, OSError):  # another C library, another system
        return False
    return True


def _status_bytes(key: str) -> int | None:
    try:
        lines = (SELF / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
