"""What the saved test predictions say beyond accuracy: who errs where, and on which images everyone does."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.analysis.ensembles import answers_together, churn, hardest
from cnnbench.analysis.groups import Group
from cnnbench.analysis.statistics.mcnemar import mcnemar
from cnnbench.runs.predictions import Predictions, load_predictions

HARDEST = 20


def compare_predictions(baseline: Group, groups: Sequence[Group]) -> dict[str, Any]:
    """`groups`: each one's ensemble and how much its own runs disagree; `comparisons` with the baseline; `hardest`.

    `left_out` are the runs whose predictions are missing, damaged or of other images; a group without any is not there.
    """
    found = {(group.id, run): load_predictions(run.path) for group in groups for run in group.runs}
    first = next((predictions for predictions in found.values() if predictions), None)
    saved: dict[str, dict[int, Predictions]] = {}
    for (name, run), predictions in found.items():
        if first and predictions and predictions.fits(first):
            saved.setdefault(name, {})[run.seed] = predictions
    ours = saved.get(baseline.id, {})
    predicted = [run.predicted for runs in saved.values() for run in runs.values()]
    return {
        "groups": [ensemble_row(name, list(runs.values())) for name, runs in saved.items()],
        "comparisons": [
            {"baseline": baseline.id, "candidate": name} | compare_two(ours, runs)
            for name, runs in saved.items()
            if ours and name != baseline.id
        ],
        "hardest": [row._asdict() for row in hardest(predicted, first.labels, HARDEST)] if first else [],
        "left_out": [str(run.path) for (name, run) in found if run.seed not in saved.get(name, {})],
    }


def ensemble_row(group_hash: str, runs: Sequence[Predictions]) -> dict[str, Any]:
    """`ensemble_accuracy`: of the mean of the runs' probabilities. `churn`: on what share of the images two of its
    runs differ, which is what chance alone does; null for one run."""
    pairs = [churn(a.predicted, b.predicted) for place, a in enumerate(runs) for b in runs[:place]]
    right = answers_together(runs) == runs[0].labels
    return {
        "group_hash": group_hash,
        "n": len(runs),
        "ensemble_accuracy": float(right.mean()),
        "churn": float(np.mean(pairs)) if pairs else None,
    }


def compare_two(ours: dict[int, Predictions], theirs: dict[int, Predictions]) -> dict[str, Any]:
    """McNemar's exact test of the two ensembles, and the mean churn of runs with the same seed."""
    first, second = (list(runs.values()) for runs in (ours, theirs))
    right = [answers_together(runs) == runs[0].labels for runs in (first, second)]
    only_ours, only_theirs = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    pairs = [churn(ours[seed].predicted, theirs[seed].predicted) for seed in ours.keys() & theirs.keys()]
    return {
        "only_baseline_right": only_ours,
        "only_candidate_right": only_theirs,
        "mcnemar_p": mcnemar(only_ours, only_theirs),
        "churn": float(np.mean(pairs)) if pairs else None,
    }
