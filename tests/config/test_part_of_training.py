import pytest

from cnnbench.config.compose import compose
from cnnbench.config.run_config import check_config
from cnnbench.config.settings import (
    Patience,
    TrainingLength,
    TrainingMoment,
    WholeEpochs,
    accepts,
    canonical,
    in_epochs,
    in_words,
    settings,
    too_late,
    whole_epochs,
)
from cnnbench.config.tables import GROUPS, table_of
from cnnbench.errors import ConfigError
from cnnbench.runs.identity import group_hash

COUNTED = {
    "pruning.start_epoch": ["pruning=magnitude"],
    "pruning.end_epoch": ["pruning=magnitude"],
    "schedule.warmup_epochs": [],
    "schedule.milestones": ["schedule=step"],
    "regularization.early_stopping.patience": ["regularization=[early_stopping]"],
    "regularization.swa.start": ["regularization=[swa]"],
    "regularization.freeze_first_layer.after": ["regularization=[freeze_first_layer]"],
    "regularization.progressive_resizing.until": ["regularization=[progressive_resizing]"],
}
"""Every setting that counts epochs, and what chooses it."""


def spelled(key, value):
    return f"{key}=[{value}]" if key == "schedule.milestones" else f"{key}={value}"


def test_every_setting_that_counts_epochs_takes_a_share_too():
    found = {
        f"{group}.{setting}" if group in ("pruning", "schedule") else f"{group}.{name}.{setting}"
        for group in GROUPS
        for name, function in table_of(group).items()
        for setting, annotation in settings(function).items()
        if "PartOfTraining" in repr(annotation)
    }
    assert found == set(COUNTED)
    named = {setting for group in GROUPS for function in table_of(group).values() for setting in settings(function)}
    assert {name for name in named if "epoch" in name} <= {key.rpartition(".")[2] for key in COUNTED}


def test_a_number_between_0_and_1_is_a_share_and_any_other_counts_epochs():
    assert [in_epochs(value, 8) for value in (0, 0.25, 0.999, 1, 1.5, 8)] == [0, 2, 7.992, 1, 1.5, 8]


def test_a_share_in_whole_epochs_is_rounded_up_and_never_0():
    assert [whole_epochs(0.5, epochs) for epochs in (1, 2, 3, 10)] == [1, 1, 2, 5]
    assert [whole_epochs(0.07, 100), whole_epochs(1e-12, 3), whole_epochs(0.999, 3), whole_epochs(7, 10)] == [
        7,
        1,
        3,
        7,
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 1000])
def test_every_share_fits_into_every_training(epochs):
    for annotation in (TrainingLength, TrainingMoment, WholeEpochs, Patience):
        for share in (1e-9, 0.1, 0.5, 0.7, 1 - 1e-9):
            assert accepts(annotation, share)
            assert too_late(annotation, share, epochs) is None
            assert 0 < canonical(annotation, share, epochs) <= epochs


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [(TrainingLength, 0, True), (TrainingLength, 2.5, True), (TrainingLength, -0.5, False),
     (TrainingLength, True, False),
     (TrainingLength, "0.5", False), (TrainingLength, float("nan"), False), (WholeEpochs, 0, False),
     (WholeEpochs, 2.5, False), (WholeEpochs, 1, True), (WholeEpochs, -1, False),
     (WholeEpochs | None, None, True), (WholeEpochs, True, False)],
)  # fmt: skip
def test_what_is_neither_is_refused(annotation, value, fits):
    assert accepts(annotation, value) is fits


def test_the_words_say_both():
    words = "a whole number of epochs >= 1 or, as a number between 0 and 1, a share of them"
    assert in_words(WholeEpochs | None) == f"{words} or null"
    assert in_words(list[TrainingMoment]) == (
        "a list, each a number of epochs >= 0 or, as a number between 0 and 1, a share of them"
    )


@pytest.mark.parametrize("key", [key for key in COUNTED if not key.endswith("patience")])
def test_what_does_not_fit_the_epochs_is_told_with_the_config(key):
    assert compose([*COUNTED[key], "epochs=10", spelled(key, 9)])
    with pytest.raises(ConfigError) as caught:
        compose([*COUNTED[key], "epochs=3", spelled(key, 9)])
    (finding,) = caught.value.findings
    assert finding.startswith(f"{key}=")
    assert "the training has 3 epochs; set it to " in finding
    assert finding.endswith("3, or to a share of them as 0.5, or raise epochs")


def test_what_would_begin_with_the_end_is_refused_and_what_ends_there_is_not():
    with pytest.raises(ConfigError, match="set it to less than 3"):
        compose(["regularization=[freeze_first_layer]", "epochs=3", "regularization.freeze_first_layer.after=3"])
    assert compose(["schedule.warmup_epochs=3", "epochs=3"])
    assert compose(["regularization=[early_stopping]", "epochs=2"])  # patience=5: never reached, which is no mistake


def test_epochs_that_are_wrong_themselves_are_the_one_finding():
    with pytest.raises(ConfigError) as caught:
        compose(["epochs=0", "schedule.warmup_epochs=9"])
    assert caught.value.findings == ("epochs=0: should be a whole number >= 1",)


@pytest.mark.parametrize("key", ["pruning.start_epoch", "regularization.early_stopping.patience"])
def test_a_share_is_the_same_experiment_as_the_whole_epochs_it_stands_for(key):
    share, whole = (compose([*COUNTED[key], "epochs=10", spelled(key, value)]).as_dict() for value in (0.7, 7))
    assert group_hash(share) == group_hash(whole)
    assert check_config(share).as_dict() == whole  # a run folder's config.yaml, read again


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "61c897cf5067779f"),
        (["schedule.warmup_epochs=2"], "ad2c119b6f8c1804"),
        (["pruning=magnitude", "pruning.start_epoch=7"], "93b98262a0f30903"),
        (
            ["regularization=[swa,early_stopping,freeze_first_layer,progressive_resizing]", "model.head=gap"],
            "27d556e46a732511",
        ),
        (["schedule=step", "regularization=[swa]", "regularization.swa.start=0"], "88df1f139fb42c1c"),
        (["experiment=article_002_pruning"], "2ea878ce90f05525"),
    ],
)
def test_configs_have_the_group_hash_that_they_had_before_shares(overrides, expected):
    assert group_hash(compose(overrides).as_dict()) == expected
