"""What the saved test predictions say beyond accuracy: who errs where, and on which images everyone does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from cnnbench.analysis.ensembles import answers_together, churn, hardest, right_by_run
from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.statistics.mcnemar import mcnemar
from cnnbench.analysis.statistics.population import population_difference
from cnnbench.analysis.wording import write_p
from cnnbench.runs.predictions import Predictions, load_predictions

HARDEST = 20
MCNEMAR_JUDGES = "these two ensembles on these images, not the techniques"


def compare_predictions(pairs: Sequence[tuple[Group, Group]], groups: Sequence[Group]) -> dict[str, Any]:
    """`groups`: each one's ensemble and how much its own runs disagree; `comparisons` of pairs of them; `hardest`.

    `left_out` are the runs whose predictions are missing, damaged or of other images; a group without any is not there.
    """
    found = {(group.id, run): load_predictions(run.path) for group in groups for run in group.runs}
    first = next((predictions for predictions in found.values() if predictions), None)
    saved: dict[str, dict[int, Predictions]] = {}
    for (name, run), predictions in found.items():
        if first and predictions and predictions.fits(first):
            saved.setdefault(name, {})[run.seed] = predictions
    predicted = [run.predicted for runs in saved.values() for run in runs.values()]
    return {
        "groups": [ensemble_row(name, list(runs.values())) for name, runs in saved.items()],
        "comparisons": [
            {"baseline": ours.id, "candidate": theirs.id} | compare_two(saved[ours.id], saved[theirs.id])
            for ours, theirs in pairs
            if ours.id in saved and theirs.id in saved
        ],
        "mcnemar_judges": MCNEMAR_JUDGES,
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


def compare_two(ours: Mapping[int, Predictions], theirs: Mapping[int, Predictions]) -> dict[str, Any]:
    """What two groups of runs, by seed, answer differently.

    McNemar's exact test judges two ensembles of as many runs on these images, not the techniques: it knows of no
    seeds, and finds a difference between two ensembles of one and the same config all too often. What it shows beyond
    these runs and these images says `population`, which is null below two shared seeds. `churn`: of the runs with the
    same seed.
    """
    shared = [seed for seed in ours if seed in theirs]
    first, second = equally_many(ours, theirs)
    labels = first[0].labels
    right = [answers_together(runs) == labels for runs in (first, second)]
    only_ours, only_theirs = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    pairs = [churn(ours[seed].predicted, theirs[seed].predicted) for seed in shared]
    return {
        "n_runs": len(first),
        "shared_seeds": shared,
        "only_baseline_right": only_ours,
        "only_candidate_right": only_theirs,
        "mcnemar_p": mcnemar(only_ours, only_theirs),
        "churn": float(np.mean(pairs)) if pairs else None,
        "population": beyond_these_images([ours[seed] for seed in shared], [theirs[seed] for seed in shared]),
    }


def equally_many(
    ours: Mapping[int, Predictions], theirs: Mapping[int, Predictions]
) -> tuple[list[Predictions], list[Predictions]]:
    """The runs of the seeds that both have; where there are none, the first of each, as many as the fewer runs."""
    shared = [seed for seed in ours if seed in theirs]
    if shared:
        return [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
    count = min(len(ours), len(theirs))
    first, second = ([runs[seed] for seed in sorted(runs)[:count]] for runs in (ours, theirs))
    return first, second


def beyond_these_images(baseline: Sequence[Predictions], candidate: Sequence[Predictions]) -> dict[str, Any] | None:
    """The difference in accuracy of runs with the same seeds for other seeds and other images; None below two runs."""
    if len(baseline) < 2:
        return None
    found = population_difference(right_by_run(baseline), right_by_run(candidate))
    if found is None:
        return None
    document = asdict(found)
    document["mean_difference"] = document.pop("mean")
    return document


class SpelledPopulation(NamedTuple):
    """What holds beyond the images at hand, in words. `errors`: 1.96 standard errors now, with endless seeds, and with
    endless images."""

    difference: str
    interval: tuple[str, str]
    p: str
    errors: tuple[str, str, str]


def spell_population(found: Mapping[str, Any]) -> SpelledPopulation:
    """Of what `beyond_these_images` gives."""
    scale = metric_of("test_accuracy")
    low, high = map(scale.write_difference, found["ci95"])
    now, seeds, images = (
        scale.write(1.96 * error)
        for error in (found["standard_error"], found["se_of_more_seeds"][1], found["se_of_more_images"][1])
    )
    difference = scale.write_difference(found["mean_difference"])
    return SpelledPopulation(difference, (low, high), write_p(found["p_value"]), (now, seeds, images))
