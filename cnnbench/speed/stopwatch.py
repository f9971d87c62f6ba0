"""Timing what takes turns: on a shared machine only rounds of A B A B compare."""

import time
from collections.abc import Callable, Mapping

Timed = Callable[[], object]


def seconds_of(action: Timed) -> float:
    """How long one call takes; the call itself waits for its device."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def take_turns(actions: Mapping[str, Timed], rounds: int) -> dict[str, list[float]]:
    """The seconds of each action in each round. Before it is timed an action runs once: the others have
    pushed what it needs out of the caches."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            action()
            seconds[name].append(seconds_of(action))
    return seconds
