"""Pruning while training: what conf/pruning chooses.

Removed means masked: set to zero and kept there, so a masked model is no faster. `cnnbench compress` removes filters
for good and times the result; `finalize=filters` does so at the end of the run.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from cnnbench.config.settings import Positive, ProperFraction, WholeEpochs
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.filter_pruning import FilterPruning
from cnnbench.techniques.masking import SCORES, Pace, Pruning, Scope, keep_above, keep_highest, plan


def magnitude(
    model: nn.Module,
    steps_per_epoch: int,
    epochs: int,
    *,
    amount: ProperFraction,
    scope: Scope,
    schedule: Pace,
    start_epoch: WholeEpochs | None,
    end_epoch: WholeEpochs | None,
) -> Callback:
    """Removes the share `amount` of all conv and linear weights, the smallest |w| first (Han et al., 2015).

    `scope=global` ranks all layers together, `layer` takes the same share of each.
    """
    calendar = plan(schedule, start_epoch, end_epoch, epochs)
    choose = partial(keep_highest, amount, scope)
    return Pruning(model, "weight", SCORES["magnitude"], choose, calendar, steps_per_epoch)


def threshold(
    model: nn.Module,
    steps_per_epoch: int,
    epochs: int,
    *,
    threshold: Positive,
    schedule: Pace,
    start_epoch: WholeEpochs | None,
    end_epoch: WholeEpochs | None,
) -> Callback:
    """Removes every conv and linear weight with |w| < threshold; under a gradual schedule the threshold rises."""
    calendar = plan(schedule, start_epoch, end_epoch, epochs)
    choose = partial(keep_above, threshold)
    return Pruning(model, "weight", SCORES["magnitude"], choose, calendar, steps_per_epoch)


def filters(
    model: nn.Module,
    steps_per_epoch: int,
    epochs: int,
    image_shape: tuple[int, int, int],
    *,
    amount: ProperFraction,
    norm: Literal["l1", "l2"],
    scope: Scope,
    schedule: Pace,
    start_epoch: WholeEpochs | None,
    end_epoch: WholeEpochs | None,
    finalize: Literal["masks", "filters"],
) -> Callback:
    """Removes the share `amount` of all convolution filters, the smallest norm first (Li et al., 2017).

    A filter goes with its bias. Batch norm after it still adds its own shift: the channel becomes constant. With
    `finalize=filters` the norm's numbers go too, and the same filters of layers whose maps are added: at the end of the
    run all of them are removed for good.
    """
    calendar = plan(schedule, start_epoch, end_epoch, epochs)
    choose = partial(keep_highest, amount, scope)
    if finalize == "filters":
        return FilterPruning(model, image_shape, SCORES[norm], choose, calendar, steps_per_epoch)
    return Pruning(model, "filter", SCORES[norm], choose, calendar, steps_per_epoch)


def none() -> Callback:
    """Removes nothing."""
    return Callback()


PRUNING: dict[str, Callable[..., Callback]] = {
    "none": none,
    "magnitude": magnitude,
    "threshold": threshold,
    "filter": filters,
}
