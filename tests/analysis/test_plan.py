import json
import math
import statistics

import numpy as np
import pytest
import yaml
from scipy import stats

from cnnbench.analysis.judging import judge
from cnnbench.analysis.pairing import Pairing
from cnnbench.analysis.sequential import follow
from cnnbench.analysis.statistics.expected_looks import expect
from cnnbench.analysis.statistics.power import pairs_for_difference
from cnnbench.analysis.statistics.spread import sd_bound

SGD, ADAM = [0.900, 0.904, 0.899, 0.908], [0.910, 0.913, 0.909, 0.919]


def write_group(folder, name, accuracies, seconds=36.0, first_seed=0):
    for seed, accuracy in enumerate(accuracies, first_seed):
        path = folder / f"{name}-{seed}"
        path.mkdir(parents=True)
        content = {
            "format": 1,
            "status": "finished",
            "run_id": f"{name}-{seed}",
            "group_hash": name,
            "seed": seed,
            "test_accuracy": accuracy,
            "total_seconds": seconds,
        }
        (path / "summary.json").write_text(json.dumps(content))
        (path / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "optimizer": {"name": name}}))


def planned(cnnbench, *arguments):
    exit_code, out, err = cnnbench("plan", "pilot", "--json", *arguments)
    assert exit_code == 0, err
    return json.loads(out)


def test_the_spread_that_counts_is_that_of_paired_differences(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)
    write_group(tmp_path / "pilot", "b_adam", ADAM)
    document = planned(cnnbench, "--difference", "0.3")
    paired = statistics.stdev(b - a for a, b in zip(SGD, ADAM, strict=True))
    assert document["groups"][0]["sd"] == pytest.approx(statistics.stdev(SGD))
    assert document["groups"][1]["sd_of_differences"] == pytest.approx(paired)
    assert document["sd_of_differences"] == pytest.approx(paired)
    needed = {row["difference"]: row for row in document["needed"]}
    assert set(needed) == {0.1, 0.2, 0.3, 0.5, 1.0, 2.0}
    bound = paired * math.sqrt(3 / stats.chi2.ppf(0.2, 3))
    assert document["sd_planned"] == pytest.approx(bound)
    assert document["sd_interval"] == pytest.approx(
        [paired * math.sqrt(3 / stats.chi2.ppf(q, 3)) for q in (0.975, 0.025)]
    )
    assert needed[0.1]["seeds"] == pairs_for_difference(bound, 0.001)
    assert needed[0.1]["seeds_at_estimate"] == pairs_for_difference(paired, 0.001)
    assert needed[0.1]["seeds_at_estimate"] < needed[0.1]["seeds_of_twice_the_pilot"] < needed[0.1]["seeds"]
    assert needed[0.1]["hours"] == pytest.approx(2 * needed[0.1]["seeds"] * 36 / 3600)
    assert document["groups"][1]["needed"]["seeds"] == needed[0.3]["seeds"]


def test_a_family_is_priced_with_its_baseline(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)
    row = planned(cnnbench, "--family", "16")["needed"][-1]
    assert row["runs"] == 17 * row["seeds"]
    assert row["hours"] == pytest.approx(17 * row["seeds"] * 36 / 3600)


def test_looks_take_fewer_seeds_on_average_than_a_fixed_design(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)
    document = planned(cnnbench, "--sequential", "--difference", "0.6")
    fixed = {row["difference"]: row["seeds"] for row in document["needed"]}
    looks = {row["difference"]: row for row in document["looks"]}
    assert looks[0.6]["average_seeds"] < fixed[0.6] <= looks[0.6]["looks"][-1]
    assert looks[0.1]["looks"] is None or looks[0.1]["looks"][-1] > looks[0.6]["looks"][-1]
    assert planned(cnnbench)["looks"] is None
    assert "looks at" in cnnbench("plan", "pilot", "--sequential")[1]


def test_what_is_planned_with_is_no_less_than_the_truth_in_four_of_five_pilots():
    generator = np.random.default_rng(0)
    for n in (3, 5, 10):
        estimates = generator.normal(0, 1, (4000, n)).std(axis=1, ddof=1)
        assert np.mean([sd_bound(sd, n - 1) >= 1 for sd in estimates]) == pytest.approx(0.8, abs=0.02)


def test_looks_promise_what_they_hold():
    generator, looks = np.random.default_rng(1), (8, 14, 20)
    found, seeds = [], []
    for _ in range(400):
        row = generator.normal(0.9, 1, 20)

        def judge_at(counts, level, row=row):
            pairing = Pairing(dict.fromkeys(range(counts[0]), 0.0), dict(enumerate(row[: counts[0]])), True, ())
            return {0: judge([pairing], 0.0, higher_is_better=True, level=level)[0]}

        (followed,) = follow([20], looks, 3, 0.0, judge_at)
        found.append(followed.judged.verdict == "helps")
        seeds.append(followed.seeds)
    expected = expect(looks, 0.9)
    assert expected.power == pytest.approx(np.mean(found), abs=0.06)
    assert expected.average_seeds == pytest.approx(np.mean(seeds), abs=0.8)


def test_without_shared_seeds_the_spread_within_groups_is_an_upper_bound(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)
    write_group(tmp_path / "pilot", "b_adam", ADAM[:3], first_seed=10)
    pooled = math.sqrt((3 * statistics.variance(SGD) + 2 * statistics.variance(ADAM[:3])) / 5)
    document = planned(cnnbench)
    assert document["sd_of_differences"] == pytest.approx(math.sqrt(2) * pooled)
    assert "upper bound" in document["source"]


def test_more_power_and_a_larger_family_need_more_seeds(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)

    def seeds(*arguments):
        return [row["seeds"] for row in planned(cnnbench, *arguments)["needed"]][1]

    assert seeds() < seeds("--power", "0.95")
    assert seeds() < seeds("--family", "16")


def test_two_seeds_are_too_few_to_know(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD[:2])
    assert planned(cnnbench)["sd_of_differences"] is None
    exit_code, out, err = cnnbench("plan", "pilot")
    assert exit_code == 0
    assert "unknown" in out
    assert "it takes 3 seeds of a group to know a spread" in err


def test_people_read_points_and_hours(cnnbench, tmp_path):
    write_group(tmp_path / "pilot", "a_sgd", SGD)
    out = cnnbench("plan", "pilot")[1]
    assert f"{100 * statistics.stdev(SGD):.3g}" in out
    assert "difference (points)" in out
    assert "hours" in out
    assert "does not exceed in 80 % of pilots" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--difference", "0"], "--difference 0.0: should be a number > 0"),
        (["--power", "1"], "--power 1.0: should be a number > 0 and < 1"),
        (["--family", "0"], "--family 0: should be a whole number >= 1"),
    ],
)
def test_a_number_out_of_range_is_one_line(cnnbench, tmp_path, arguments, message):
    exit_code, _, err = cnnbench("plan", "pilot", *arguments)
    assert exit_code == 2
    assert err.startswith(f"error: {message}")


def test_a_folder_that_is_not_there_is_named(cnnbench):
    exit_code, _, err = cnnbench("plan", "nowhere")
    assert exit_code == 65
    assert err.startswith("error: nowhere: no such folder")
