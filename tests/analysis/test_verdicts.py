"""Groups against a baseline: pairing by seed, the family, and which group is the baseline."""

import pytest
from run_folders import CONFIG, make_run

from cnnbench.analysis.groups import collect
from cnnbench.analysis.pairing import pair_by_seed
from cnnbench.analysis.statistics.sign_flips import step_down_maximum
from cnnbench.analysis.verdicts import all_pairs, choose_baseline, compare_pairs, compare_with, is_planned
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


def with_diverged(folder, config, seeds):
    """Runs of these seeds whose training diverged."""
    for seed in seeds:
        path = folder / f"diverged-{config.get('optimizer', CONFIG['optimizer'])['lr']}-{seed}"
        make_run(path, None, seed=seed, config=config, status="failed", exit_code=3, error="training diverged")


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
    for seed in range(5):
        make_run(tmp_path / f"a{seed}", 0.9 + seed / 100, seed=seed, run_id="1")
        make_run(tmp_path / f"b{seed}", 0.905 + seed / 100, seed=seed + 2, config=lr(0.5), run_id="2")
    first, second = collect([tmp_path], METRIC).groups
    differences = pair_by_seed(first, second, METRIC).differences
    assert differences == pytest.approx({2: 0.905 - 0.92, 3: 0.915 - 0.93, 4: 0.925 - 0.94})
    (comparison,) = compare_with(first, [first, second], METRIC, 0.002)
    assert comparison.unpaired == (0, 1, 5, 6)
    assert comparison.difference.n_pairs == 3
    assert comparison.correlation == pytest.approx(1.0)


def test_groups_with_too_few_runs_are_undecided_and_do_not_count_in_the_family(tmp_path):
    sweep(tmp_path, [0, 0.02])
    make_run(tmp_path / "alone", 0.99, seed=99, config=lr(7.0), run_id="3")
    for seed in range(3):
        make_run(tmp_path / f"few{seed}", 0.99, seed=seed, config=lr(8.0), run_id="4")
    groups = collect([tmp_path], METRIC).groups
    helped, alone, few = compare_with(groups[0], groups, METRIC, 0.002)
    assert [alone.verdict, few.verdict, alone.family, few.family] == ["undecided", "undecided", 0, 0]
    assert helped.p_family == helped.p_holm == helped.difference.p_value  # a family of one
    assert helped.method == "one comparison"


def test_p_is_adjusted_for_the_family(tmp_path):
    groups = sweep(tmp_path, [0, 0.02, 0.03, 0.0])
    comparisons = compare_with(groups[0], groups, METRIC, 0.002)
    smallest = min(comparison.difference.p_value for comparison in comparisons)
    assert min(comparison.p_holm for comparison in comparisons) == pytest.approx(3 * smallest)
    expected = step_down_maximum([pair_by_seed(groups[0], group, METRIC).differences for group in groups[1:]])
    assert [comparison.p_family for comparison in comparisons] == expected
    assert {(comparison.family, comparison.method) for comparison in comparisons} == {(3, "step-down maximum")}


def test_six_seeds_decide_sixteen_techniques(tmp_path):
    groups = sweep(tmp_path, [0, 0.03, -0.03, *[0.0] * 14], seeds=range(6))
    comparisons = compare_with(groups[0], groups, METRIC, 0.002)
    found = {comparison.candidate.label.removeprefix("optimizer.lr="): comparison.verdict for comparison in comparisons}
    assert (found.pop("1.0"), found.pop("2.0")) == ("helps", "hurts")
    assert len(found) == 14
    assert not {"helps", "hurts"} & set(found.values())


def test_a_baseline_chosen_afterwards_makes_all_pairs_the_family(tmp_path):
    groups = sweep(tmp_path, [0, 0.0, 0.0, 0.03])
    before = compare_with(groups[3], groups, METRIC, 0.002)
    after = compare_with(groups[3], groups, METRIC, 0.002, chosen_afterwards=True)
    assert [comparison.candidate for comparison in after] == list(groups[:3])
    assert ({c.family for c in before}, {c.family for c in after}) == ({3}, {6})
    assert all(a.p_family >= b.p_family for a, b in zip(after, before, strict=True))
    assert is_planned(groups[0], groups)
    assert not is_planned(groups[3], groups)
    pairs = compare_pairs(all_pairs(groups), METRIC, 0.002, groups)
    in_order = {frozenset((c.baseline.id, c.candidate.id)): c.p_family for c in pairs}
    assert [in_order[frozenset((c.baseline.id, c.candidate.id))] for c in after] == [c.p_family for c in after]


def test_of_very_many_groups_the_pairs_not_shown_are_counted(tmp_path):
    groups = sweep(tmp_path, [number / 1000 for number in range(30)])
    after = compare_with(groups[29], groups, METRIC, 0.002, chosen_afterwards=True)
    assert {comparison.family for comparison in after} == {30 * 29 // 2}
    assert [c.p_family for c in after] == pytest.approx([min(1.0, 15 * c.p_holm) for c in after])


def test_no_interval_contradicts_its_verdict(tmp_path):
    for seeds in (3, 6, 8):
        groups = sweep(tmp_path / str(seeds), [0, 0.0005, 0.001, 0.002, -0.0015, 0.004], seeds=range(seeds))
        for comparison in compare_with(groups[0], groups, METRIC, 0.0001):
            low, high = comparison.ci95
            is_decided = comparison.verdict in ("helps", "hurts")
            assert (low > 0 or high < 0) == is_decided
            assert is_decided <= (comparison.p_family <= 0.05)


def test_survivors_that_gain_do_not_help_where_others_diverged(tmp_path):
    sweep(tmp_path, [0], seeds=range(10))
    sweep(tmp_path / "more", [0, 0.02], seeds=range(6))
    with_diverged(tmp_path, lr(1.0), range(6, 10))
    groups = collect([tmp_path], METRIC).groups
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    assert comparison.verdict == "undecided"
    assert comparison.held.startswith("helps by the runs that finished")
    assert comparison.ci95[0] == 0.0  # nothing is decided
    assert [rate.diverged for rate in comparison.failures] == [0, 4]
    assert comparison.failures[1].runs == 10
    assert comparison.failures[1].ci95 == pytest.approx((0.1216, 0.7376), abs=1e-4)


def test_a_verdict_stands_that_the_worst_values_keep(tmp_path):
    sweep(tmp_path, [0, -0.02], seeds=range(8))
    make_run(tmp_path / "0-8", 0.9, seed=8, config=lr(0.0))
    with_diverged(tmp_path, lr(1.0), [8, 9])
    with_diverged(tmp_path, lr(0.0), [9])
    groups = collect([tmp_path], METRIC).groups
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    assert (comparison.verdict, comparison.held) == ("hurts", "")
    assert [(rate.diverged, rate.runs) for rate in comparison.failures] == [(1, 10), (2, 10)]


def test_a_group_of_which_every_run_diverged_is_named_not_dropped(tmp_path):
    sweep(tmp_path, [0, 0.0], seeds=range(6))
    with_diverged(tmp_path, lr(9.0), range(6))
    collection = collect([tmp_path], METRIC)
    assert len(collection.groups) == 2
    (gone,) = collection.without_result
    assert (gone.label, len(gone.diverged)) == ("optimizer.lr=9.0", 6)


def test_groups_of_other_seeds_are_compared_unpaired(tmp_path):
    sweep(tmp_path, [0], seeds=range(6))
    sweep(tmp_path / "more", [0, 0.03], seeds=range(10, 16))
    for path in (tmp_path / "more").glob("0-*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    groups = collect([tmp_path], METRIC).groups
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    assert (comparison.is_paired, comparison.unpaired, comparison.difference.n_pairs) == (False, (), 0)
    assert comparison.difference.p_value == 2 / 924
    assert comparison.verdict == "helps"
    assert "seeds do not match: compared unpaired" in comparison.notes


def test_what_one_side_had_more_of_stands_beside_the_verdict(tmp_path):
    for seed in range(6):
        make_run(tmp_path / f"a{seed}", 0.9, seed=seed, run_id="1")
        more = {"epochs": 30, "data": CONFIG["data"] | {"fraction": 0.5}}
        make_run(tmp_path / f"b{seed}", 0.95, seed=seed, run_id="2", config=more, epochs=30, test_reads=3)
    groups = collect([tmp_path], METRIC).groups
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    expected = ("epochs 30 against 3", "data.fraction 0.5 against 1.0", "test split read 3 times")
    assert (comparison.verdict, comparison.notes) == ("helps", expected)


def test_settings_tried_on_one_side_only_are_counted(tmp_path):
    adam = [{"optimizer": {"name": "adam", "lr": rate}} for rate in (0.1, 0.01, 0.001)]
    for number, config in enumerate([{}, *adam]):
        for seed in range(6):
            make_run(tmp_path / f"{number}-{seed}", 0.9 + number / 100, seed=seed, run_id=str(number), config=config)
    groups = collect([tmp_path], METRIC).groups
    for comparison in compare_with(groups[0], groups, METRIC, 0.002):
        assert comparison.notes == ("one of 3 settings tried, the baseline one of 1",)
    (comparison,) = compare_pairs([(groups[1], groups[2])], METRIC, 0.002, groups)
    assert comparison.notes == ()


def test_the_best_of_more_epochs_helps_nobody(tmp_path):
    for seed in range(8):
        make_run(tmp_path / f"a{seed}", 0.9 + NOISE[seed], seed=seed, run_id="1", epochs=10)
        longer = {"epochs": 30}
        make_run(tmp_path / f"b{seed}", 0.95 + NOISE[seed], seed=seed, run_id="2", config=longer, epochs=30)
    groups = collect([tmp_path], "best_val_accuracy").groups
    (comparison,) = compare_with(groups[0], groups, "best_val_accuracy", 0.002)
    assert comparison.verdict == "undecided"
    assert "unequal numbers of epochs" in comparison.held


def test_a_seed_far_outside_is_named_and_nothing_is_called_without_effect(tmp_path):
    for seed in range(8):
        make_run(tmp_path / f"a{seed}", 0.9, seed=seed, run_id="1")
        gain = -0.0015 if seed == 5 else NOISE[seed] / 100
        make_run(tmp_path / f"b{seed}", 0.9 + gain, seed=seed, run_id="2", config=lr(0.5))
    groups = collect([tmp_path], METRIC).groups
    (comparison,) = compare_with(groups[0], groups, METRIC, 0.002)
    assert (comparison.verdict, comparison.notes) == ("undecided", ("seed 5 lies far outside the others",))


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
