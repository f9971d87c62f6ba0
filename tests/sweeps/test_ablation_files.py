"""What the ablations of conf/ablation switch, by the composed configs."""

import pytest

from cnnbench.config.compose import compose
from cnnbench.sweeps.ablation import choose_techniques, make_variants, read_ablation

# What differs from the baseline; `group` stands for any of its settings, of which a choice brings its own.
SWITCHED = {
    "articles": {
        "augmentation": {"augmentation"},
        "batch_norm": {"model.norm"},
        "dropout": {"model.dropout"},
        "l1": {"regularization"},
        "l2": {"regularization"},
        "depth": {"model.depth"},
        "width": {"model.width_multiplier"},
        "residual": {"model.residual"},
        "pooling": {"model.pool"},
        "activation": {"model.activation"},
        "optimizer": {"optimizer"},
        "schedule": {"schedule"},
        "label_smoothing": {"loss.label_smoothing"},
        "mixup": {"regularization"},
        "ema": {"regularization"},
        "pruning": {"pruning"},
    },
    "fast": {
        "bf16": {"device.precision"},
        "channels_last": {"device.memory_format"},
        "one_cycle": {"schedule"},
        "muon": {"optimizer"},
        "separable": {"model.separable"},
        "stride": {"model.pool"},
        "progressive_resizing": {"regularization"},
        "freeze_first_layer": {"regularization"},
    },
}


def configs(ablation, mode):
    return {
        variant.name: compose(variant.overrides).as_dict() for variant in make_variants(ablation, mode, ["data=digits"])
    }


def switched(baseline, other):
    """The keys that differ; of a group of another choice, and of a list of choices, the group."""
    keys = set()
    for group in baseline.keys() | other.keys():
        before, after = baseline[group], other[group]
        if before == after:
            continue
        if group in ("augmentation", "regularization") or before["name"] != after["name"]:
            keys.add(group)
        else:
            keys |= {f"{group}.{key}" for key in before if before[key] != after[key]}
    return keys


@pytest.mark.parametrize("name", SWITCHED)
def test_each_technique_switches_what_its_name_says_and_nothing_else(name):
    baseline, *others = configs(read_ablation(name), "add_one").items()
    assert {other: switched(baseline[1], config) for other, config in others} == SWITCHED[name]


def test_the_baseline_of_the_articles_is_sgd_at_a_fixed_rate_without_momentum_decay_or_smoothing():
    config = compose(read_ablation("articles").baseline)
    sgd = {"name": "sgd", "lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert sgd.items() <= config.optimizer.items()
    assert config.schedule == {"name": "constant", "warmup_epochs": 0}
    assert config.loss == {"name": "cross_entropy", "label_smoothing": 0.0}
    assert (config.model["widths"], config.model["depth"], config.model["hidden"]) == ([32, 64], 1, 128)
    assert (config.augmentation, config.regularization, config.pruning) == ({}, {}, {"name": "none"})


@pytest.mark.parametrize("name", SWITCHED)
def test_all_techniques_together_are_one_config_in_whatever_order_they_come(name):
    ablation = read_ablation(name)
    reverse = choose_techniques(ablation, list(ablation.techniques)[::-1])
    forwards, backwards = (
        compose(make_variants(one, "leave_one", ["data=digits"])[0].overrides) for one in (ablation, reverse)
    )
    assert forwards == backwards
