"""A tracker in a thread of its own: what it waits for and what it raises is not the training's concern."""

import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

from cnnbench.trackers.tracker import Beginning, Numbers, Tracker


class Follower:
    """Hands a tracker what it is told, in order, and gives back at once; `error` is what ended the tracker."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.error: Exception | SystemExit | None = None
        self._tracker = tracker
        self._told: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._thread = threading.Thread(target=self._follow, name=f"tracker {name}", daemon=True)

    def start(self, beginning: Beginning) -> None:
        """The run begins or goes on."""
        self._thread.start()
        self._told.put(("start", beginning))

    def log_epoch(self, numbers: Numbers) -> None:
        """An epoch is over."""
        self._told.put(("log_epoch", numbers))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run is over: nothing more is told."""
        self._told.put(("finish", summary))

    def is_done_within(self, seconds: float) -> bool:
        """Whether the tracker has come to its end by then."""
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def _follow(self) -> None:
        moment = ""
        while moment != "finish":
            moment, what = self._told.get()
            try:
                getattr(self._tracker, moment)(what)
            except (Exception, SystemExit) as error:  # whatever a library makes of a full disk or a lost server
                self.error = error
                return
