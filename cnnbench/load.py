"""How busy other processes keep the machine."""

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
IDLE_COLUMNS = (3, 4)  # idle, iowait: proc(5)
GUEST_COLUMNS = (8, 9)  # counted in user and nice already
SHORTEST_SECONDS = 0.1  # the counters advance in hundredths of a second


class LoadMeter:
    """Counts, from when it is made, the processor time that others use of the cores this process may use."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._others = _others_seconds()

    def busy_cores(self) -> float:
        """How many cores others have kept busy since then; waits until a tenth of a second has passed.

        Where the system does not count by core, its load average of the last minute.
        """
        if self._others is None:
            return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        time.sleep(max(0.0, self._start + SHORTEST_SECONDS - time.monotonic()))
        now, elapsed = _others_seconds(), time.monotonic() - self._start
        assert now is not None
        return max(0.0, (now - self._others) / elapsed)


def _others_seconds() -> float | None:
    """Processor time so far of all others on this process's cores; None where the system does not tell."""
    if not STAT.exists() or not hasattr(os, "sched_getaffinity"):
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = 0
    for line in STAT.read_text().splitlines():
        name, *columns = line.split()
        if name in ours:
            idle = (*IDLE_COLUMNS, *GUEST_COLUMNS)
            busy += sum(int(ticks) for column, ticks in enumerate(columns) if column not in idle)
    own = os.times()
    return busy / os.sysconf("SC_CLK_TCK") - own.user - own.system
