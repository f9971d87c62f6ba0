import math
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cnnbench.config.settings import build, check
from cnnbench.techniques.schedules import SCHEDULES, constant, cosine, linear, one_cycle, step_decay

CONF = Path(__file__).parents[2] / "conf" / "schedule"
CYCLE = {"warmup_fraction": 0.4, "start_factor": 0.1, "final_factor": 0.0}


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_fits_its_function(file: Path) -> None:
    node = OmegaConf.to_container(OmegaConf.load(file))
    assert check(SCHEDULES, "schedule", node) == []
    assert node["name"] == file.stem


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("total_steps", "steps_per_epoch"), [(1, 1), (2, 1), (7, 7), (100, 10)])
def test_every_step_of_any_length_has_a_positive_factor_of_at_most_1(
    name: str, total_steps: int, steps_per_epoch: int
) -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    factor = build(SCHEDULES, "schedule", node, total_steps=total_steps, steps_per_epoch=steps_per_epoch)
    assert all(0 < factor(step) <= 1 for step in range(total_steps))


def test_constant_stays_at_1() -> None:
    factor = constant(10, 5, warmup_epochs=0)
    assert [factor(step) for step in range(10)] == [1.0] * 10


def test_warm_up_rises_in_equal_parts_to_1() -> None:
    factor = constant(10, 4, warmup_epochs=1)
    assert [factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_warm_up_may_be_a_share_of_the_training() -> None:
    factor = constant(10, 5, warmup_epochs=0.25)
    assert [factor(step) for step in range(4)] == [0.4, 0.8, 1.0, 1.0]


def test_warm_up_may_end_within_an_epoch() -> None:
    factor = constant(10, 2, warmup_epochs=1.25)
    assert [factor(step) for step in range(4)] == [0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("milestones", [[0.75, 0.5], [3, 2], [0.5, 3]])
def test_step_multiplies_by_gamma_at_shares_of_the_training_and_at_epochs(milestones: list[float]) -> None:
    factor = step_decay(8, 2, milestones=milestones, gamma=0.1, warmup_epochs=0)
    assert [factor(step) for step in range(8)] == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_linear_reaches_its_final_factor_after_the_last_step() -> None:
    factor = linear(4, 2, final_factor=0.2, warmup_epochs=0)
    assert [factor(step) for step in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_cosine_equals_its_formula_after_the_warm_up() -> None:
    factor = cosine(12, 2, final_factor=0.1, warmup_epochs=1)
    expected = [0.5, 1.0] + [0.1 + 0.9 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)]
    assert [factor(step) for step in range(13)] == pytest.approx(expected)


def test_one_cycle_with_linear_anneal_is_a_triangle() -> None:
    factor = one_cycle(10, **CYCLE, anneal="linear")
    expected = [0.325, 0.55, 0.775, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]
    assert [factor(step) for step in range(11)] == pytest.approx(expected)


def test_one_cycle_with_cosine_anneal_meets_the_triangle_half_way() -> None:
    factor = one_cycle(10, **CYCLE, anneal="cosine")
    assert factor(1) == pytest.approx(0.55)
    assert factor(5) == pytest.approx((1 + math.cos(math.pi / 6)) / 2)
    assert factor(7) == pytest.approx(0.5)


@pytest.mark.parametrize("warmup_fraction", [0.0, 1.0])
def test_one_cycle_may_be_all_fall_or_all_rise(warmup_fraction: float) -> None:
    factor = one_cycle(4, warmup_fraction=warmup_fraction, start_factor=0.0, final_factor=0.0, anneal="linear")
    rise = [0.25, 0.5, 0.75, 1.0]
    assert [factor(step) for step in range(4)] == (rise if warmup_fraction else rise[::-1])


def test_a_warm_up_as_long_as_the_training_only_rises() -> None:
    factor = cosine(4, 2, final_factor=0.0, warmup_epochs=2)
    assert [factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
