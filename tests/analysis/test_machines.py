from run_folders import make_run

from cnnbench.analysis.groups import collect
from cnnbench.analysis.machines import mixed_policies, policies_of

CPU, GPU = {"device": "cpu", "precision": "fp32", "threads": 2}, {"device": "cuda", "precision": "bf16", "threads": 2}


def groups(tmp_path):
    return collect([tmp_path], "test_accuracy").groups


def test_seeds_made_in_different_policies_are_counted(tmp_path):
    for seed in range(8):
        make_run(tmp_path / f"{seed}", seed=seed, **(GPU if seed < 5 else CPU))
    (group,) = groups(tmp_path)
    assert policies_of(group) == {"cuda bf16": 5, "cpu fp32": 3}
    assert mixed_policies([group]) == [f"{group.label}: 5 runs cuda bf16, 3 cpu fp32"]


def test_threads_and_versions_are_named_only_where_they_differ(tmp_path):
    for seed in range(3):
        make_run(tmp_path / f"{seed}", seed=seed, **CPU | {"torch": "2.9.0" if seed else "2.14.1"})
    (group,) = groups(tmp_path)
    assert policies_of(group) == {"cpu fp32, torch 2.9.0": 2, "cpu fp32, torch 2.14.1": 1}


def test_one_policy_for_all_is_not_worth_a_line_and_one_for_each_group_is(tmp_path):
    for seed in range(2):
        make_run(tmp_path / "a" / f"{seed}", seed=seed, **CPU)
    assert mixed_policies(groups(tmp_path)) == []
    make_run(tmp_path / "b", config={"epochs": 9}, **GPU)
    (line,) = mixed_policies(groups(tmp_path))
    assert line.endswith("epochs=3 cpu fp32, epochs=9 cuda bf16")


def test_the_line_stands_under_the_tables_and_in_the_json(tmp_path, cnnbench):
    for seed in range(2):
        make_run(tmp_path / "runs" / f"{seed}", seed=seed, **(GPU if seed else CPU))
    assert "1 run cpu fp32, 1 cuda bf16" in cnnbench("compare", tmp_path / "runs")[2]
    assert '"policy": "cuda bf16"' in cnnbench("compare", tmp_path / "runs", "--json")[1]


def test_groups_of_different_processors_are_told_and_those_of_unknown_ones_not(tmp_path):
    zen = {"processor": "AMD EPYC, fast bf16"}
    make_run(tmp_path / "a", **CPU | zen)
    make_run(tmp_path / "old", config={"epochs": 7}, **CPU)
    assert mixed_policies(groups(tmp_path)) == []
    make_run(tmp_path / "b", config={"epochs": 9}, **CPU | {"processor": "AMD EPYC, no fast bf16"})
    (line,) = mixed_policies(groups(tmp_path))
    assert "times do not compare" in line
    assert "processor AMD EPYC, no fast bf16" in line
