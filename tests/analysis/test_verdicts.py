"""Groups against a baseline: pairing by seed, the family, and which group is the baseline."""

import pytest
from run_folders import CONFIG, make_run

from cnnbench.analysis.groups import collect
from cnnbench.analysis.verdicts import choose_baseline, compare_with, paired_by_seed
from cnnbench.errors import ConfigError

METRIC = "test_accuracy"
NOISE = [0.001, -0.002, 0.003, 0.0, -0.001, 0.002, -0.003, 0.0015]


def lr(value):
    return {"optimizer": CONFIG["optimizer"] | {"lr": value}}


def sweep(folder, gains, seeds=range(8), metric=METRIC):
    """A group for each gain over a baseline of 0.9, the same seeds in each, noise of its own for each run."""
    for number, gain in enumerate(gains):
        for seed in seeds:
            accuracy = 0.9 + gain + NOISE[(seed + 3 * number) % 8]
            path = folder / f"{number}-{seed}"
            make_run(path, seed=seed, config=lr(float(number)), run_id=f"2026-{number}-{seed}", **{metric: accuracy})
    return collect([folder], metric).groups


def verdicts(groups, metric=METRIC, margin=0.002):
    return [comparison.verdict for comparison in compare_with(groups[0], groups, metric, margin)]


def test_planted_differences_are_found(tmp_path):
    assert verdicts(sweep(tmp_path, [0, 0.02, -0.02])) == ["helps", "hurts"]


def test_a_higher_loss_hurts(tmp_path):
    assert verdicts(sweep(tmp_path, [0, 0.02], metric="test_loss"), "test_loss") == ["hurts"]


@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_three_seeds_decide_nothing_and_say_how_many_would(tmp_path, gain):
    groups = sweep(tmp_path, [0, gain], seeds=range(3))
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    assert comparison.verdict == "undecided"
    assert comparison.difference.p_floor == 0.25
    assert comparison.seeds_needed >= 6


def test_equal_groups_have_no_practical_effect_once_the_interval_fits_the_margin(tmp_path):
    groups = sweep(tmp_path, [0, 0.0])
    assert verdicts(groups, margin=0.05) == ["no practical effect"]
    assert verdicts(groups, margin=0.0) == ["undecided"]


def test_runs_are_paired_by_seed(tmp_path):
    for seed in range(4):
        make_run(tmp_path / f"a{seed}", 0.9 + seed / 100, seed=seed, run_id="1")
        make_run(tmp_path / f"b{seed}", 0.905 + seed / 100, seed=seed + 2, config=lr(0.5), run_id="2")
    first, second = collect([tmp_path], METRIC).groups
    assert paired_by_seed(first, second, METRIC) == pytest.approx([0.905 - 0.92, 0.915 - 0.93])
    (comparison,) = compare_with(first, [first, second], METRIC, 0.002)
    assert comparison.unpaired == (0, 1, 4, 5)
    assert comparison.difference.n_pairs == 2


def test_groups_without_a_shared_seed_are_undecided_and_do_not_count_in_the_family(tmp_path):
    sweep(tmp_path, [0, 0.02])
    make_run(tmp_path / "alone", 0.99, seed=99, config=lr(7.0), run_id="3")
    groups = collect([tmp_path], METRIC).groups
    helped, alone = compare_with(groups[0], groups, METRIC, 0.002)
    assert (alone.difference, alone.p_holm, alone.verdict) == (None, None, "undecided")
    assert helped.p_holm == helped.difference.p_value  # a family of one


def test_p_is_adjusted_for_the_family(tmp_path):
    groups = sweep(tmp_path, [0, 0.02, 0.03, 0.0])
    comparisons = compare_with(groups[0], groups, METRIC, 0.002)
    smallest = min(comparison.difference.p_value for comparison in comparisons)
    assert min(comparison.p_holm for comparison in comparisons) == pytest.approx(3 * smallest)


def test_the_baseline_goes_by_label_by_hash_or_by_one_of_its_keys(tmp_path):
    groups = sweep(tmp_path, [0, 0.02], seeds=[0])
    second = groups[1]
    for wanted in (second.label, second.id, second.id[:8]):
        assert choose_baseline(groups, wanted) is second
    assert choose_baseline(groups, None) is groups[0]


def test_a_baseline_that_is_unknown_or_not_the_only_one_is_refused(tmp_path):
    for number in range(3):
        config = lr(float(number > 0)) | {"epochs": 3 + number}
        make_run(tmp_path / str(number), config=config, run_id=str(number))
    groups = collect([tmp_path], METRIC).groups
    with pytest.raises(ConfigError, match="fits 2 groups"):
        choose_baseline(groups, "optimizer.lr=1.0")
    with pytest.raises(ConfigError, match="did you mean"):
        choose_baseline(groups, "epochs=3 optimizer.lr=0.1")
