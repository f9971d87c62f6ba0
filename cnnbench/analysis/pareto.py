"""The Pareto front of quality against cost."""

from collections.abc import Sequence


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (quality, cost) whether another has as much quality for less cost, or more for as little."""
    marks = [False] * len(points)
    best = float("-inf")  # quality among the cheaper ones
    by_cost = sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0]))
    for place, i in enumerate(by_cost):
        equal = place and points[by_cost[place - 1]] == points[i]
        marks[i] = marks[by_cost[place - 1]] if equal else points[i][0] <= best
        best = max(best, points[i][0])
    return marks
