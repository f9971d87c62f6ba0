import json
import math
import statistics

import pytest
import yaml

from cnnbench.analysis.statistics.power import pairs_for_difference

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
    assert needed[0.1]["seeds"] == pairs_for_difference(paired, 0.001)
    assert needed[0.1]["hours"] == pytest.approx(2 * needed[0.1]["seeds"] * 36 / 3600)
    assert document["groups"][1]["needed"] == needed[0.3]


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
    assert "hours, both groups" in out


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
