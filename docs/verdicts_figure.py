"""The figure of docs/verdicts.md: one interval for each verdict, from made-up differences of eight seeds.

python docs/verdicts_figure.py > docs/verdicts.svg
"""

from cnnbench.analysis.judging import judge
from cnnbench.analysis.pairing import Pairing
from cnnbench.analysis.plots import ForestRow, forest
from cnnbench.analysis.statistics.verdict import shown_interval
from cnnbench.analysis.svg import standalone

MARGIN = 0.2
POINTS = {
    "clearly better": [0.9, 1.3, 0.7, 1.1, 1.4, 0.8, 1.0, 1.2],
    "clearly worse": [-0.6, -1.1, -0.8, -1.3, -0.5, -0.9, -0.7, -1.0],
    "the same": [0.05, -0.08, 0.02, 0.07, -0.04, 0.06, -0.02, 0.0],
    "too noisy to say": [1.4, -0.6, 0.9, 1.8, -1.1, 0.7, 1.2, -0.4],
    "three seeds": [0.9, 1.3, 0.7],
}


def rows() -> list[ForestRow]:
    """Each judged by itself, as `compare` does."""
    found = []
    for name, points in POINTS.items():
        seeds = range(len(points))
        pairing = Pairing(dict.fromkeys(seeds, 0.0), dict(zip(seeds, points, strict=True)), True, ())
        (judged,) = judge([pairing], MARGIN, higher_is_better=True)
        assert judged.difference is not None
        interval = shown_interval(judged.difference, judged.verdict)
        found.append(ForestRow(f"{name}: {judged.verdict}", judged.difference.mean, interval, judged.verdict))
    return found


if __name__ == "__main__":
    print(standalone(forest(rows(), margin=MARGIN, xlabel="difference to the baseline, points")), end="")
