from importlib.metadata import EntryPoint
from typing import Annotated, Any, Literal

import pytest

from cnnbench.config import settings as lookup
from cnnbench.config.mistakes import did_you_mean
from cnnbench.config.settings import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    PositiveInt,
    ProperFraction,
    Range,
    accepts,
    build,
    check,
    in_words,
    settings,
)
from cnnbench.errors import ConfigError


def deep(image_shape, num_classes, *, widths: list[PositiveInt], pool: Literal["max", "avg"], dropout: ProperFraction):
    return "deep", image_shape, num_classes, widths, pool, dropout


def wide(*, factor: Positive):
    return "wide", factor


def shared(source, *, fraction: Fraction):
    return source, fraction


TABLE = {"deep": deep, "wide": wide}
GOOD = {"name": "deep", "widths": [8, 16], "pool": "max", "dropout": 0.5}


def test_build_passes_settings_and_only_the_context_the_function_names():
    built = build(TABLE, "model", GOOD, num_classes=10, image_shape=(3, 8, 8), lr=1.0)
    assert built == ("deep", (3, 8, 8), 10, [8, 16], "max", 0.5)
    assert build(TABLE, "model", {"name": "wide", "factor": 2}, num_classes=10) == ("wide", 2)


def test_settings_are_the_parameters_after_the_star():
    assert settings(deep) == {"widths": list[PositiveInt], "pool": Literal["max", "avg"], "dropout": ProperFraction}


def test_every_mistake_is_found_at_once_each_in_one_line_with_the_key_as_typed():
    node = {"name": "deep", "widths": [8, 0], "pool": "min", "drop_out": 0.5}
    assert check(TABLE, "model", node) == [
        "model.widths=[8, 0]: should be a list, each a whole number >= 1",
        "model.pool=min: should be one of max, avg",
        "model.drop_out: unknown key; did you mean 'dropout'? Choose from widths, pool, dropout",
        "model.dropout: missing; give a number >= 0 and < 1",
    ]


def test_build_raises_every_finding_and_exits_with_2():
    with pytest.raises(ConfigError) as caught:
        build(TABLE, "model", {"name": "wide", "factor": 0, "depth": 1}, path="teacher")
    assert caught.value.findings == (
        "teacher.factor=0: should be a number > 0",
        "teacher.depth: unknown key; choose from factor",
    )
    assert caught.value.exit_code == 2


def test_an_unknown_name_is_answered_with_the_closest_and_all_choices():
    assert check(TABLE, "model", {"name": "dep"}) == [
        "model=dep: no such model; did you mean 'deep'? Choose from deep, wide"
    ]
    assert check(TABLE, "model", {}) == ["model=null: no such model; choose from deep, wide"]
    assert check(TABLE, "model", {"name": ["deep"]})[0].startswith("model=['deep']: no such model")


def test_did_you_mean_is_silent_where_nothing_is_close():
    assert did_you_mean("dep", TABLE) == "; did you mean 'deep'?"
    assert did_you_mean("xyz", TABLE) == ""


def test_shared_settings_are_checked_beside_the_functions_own():
    assert check(TABLE, "data", {"name": "wide", "factor": 1, "fraction": 1.0}, shared=shared) == []
    assert check(TABLE, "data", {"name": "wide", "factor": 1, "fraction": 1.5}, shared=shared) == [
        "data.fraction=1.5: should be a number >= 0 and <= 1"
    ]
    assert check(TABLE, "data", {"name": "wide", "factor": 1}, shared=shared) == [
        "data.fraction: missing; give a number >= 0 and <= 1"
    ]


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (float, [0, -1.5, 10**300], [float("nan"), float("inf"), -float("inf"), 10**400, True, "1", None]),
        (int, [0, -3, 2**63 - 1], [1.0, True, "1", None, 2**63, -(2**64)]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "a"], [1, None, ["a"]]),
        (Positive, [1e-9, 3], [0, -1, float("nan"), float("inf"), True]),
        (NonNegative, [0, 3.5], [-1e-9, float("nan")]),
        (Fraction, [0, 1, 0.5], [-0.1, 1.1, float("nan")]),
        (ProperFraction, [0, 0.999], [1, 1.0, -0.1]),
        (PositiveInt, [1, 7], [0, -1, 1.0, True]),
        (Count, [0, 7], [-1, 0.0, False]),
        (Annotated[float, Range(above=0, at_most=2)], [2, 0.1], [0, 2.01]),
        (Literal["max", 1], ["max", 1], ["min", True, 1.0, None]),
        (list[PositiveInt], [[], [1, 2]], [[1, 0], [True], (1,), 1, None]),
        (dict[str, int], [{}, {"a": 1}], [{"a": 1.5}, [1], None]),
        (PositiveInt | None, [None, 1], [0, "none"]),
        (Positive | Literal["auto"], ["auto", 0.5], ["Auto", 0, None]),
        (Any, [None, 1, "a"], []),
    ],
)
def test_values_fit_their_annotations(annotation, good, bad):
    assert [value for value in good if not accepts(annotation, value)] == []
    assert [value for value in bad if accepts(annotation, value)] == []


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Positive, "a number > 0"),
        (Annotated[int, Range(at_least=2, at_most=9)], "a whole number >= 2 and <= 9"),
        (list[PositiveInt] | None, "a list, each a whole number >= 1 or null"),
        (Literal["max", "avg"], "one of max, avg"),
        (bool, "true or false"),
        (str, "a text"),
        (dict[str, int], "a mapping"),
    ],
)
def test_annotations_are_described_in_words(annotation, words):
    assert in_words(annotation) == words


def theirs(num_classes, *, size: PositiveInt):
    return "theirs", num_classes, size


def installed(monkeypatch, group):
    """A package that offers `theirs` in the entry point group `group`."""
    entry = EntryPoint("theirs", f"{__name__}:theirs", group)

    def entry_points(*, group, name):
        return [entry] if (group, name) == (entry.group, entry.name) else []

    monkeypatch.setattr(lookup, "entry_points", entry_points)


def test_a_function_of_an_installed_package_is_found_checked_and_built(monkeypatch):
    installed(monkeypatch, "cnnbench.models")
    assert build(TABLE, "model", {"name": "theirs", "size": 4}, num_classes=3, lr=1) == ("theirs", 3, 4)
    assert check(TABLE, "model", {"name": "theirs", "size": 0}) == ["model.size=0: should be a whole number >= 1"]


def test_a_function_of_an_installed_package_for_another_group_is_not_found(monkeypatch):
    installed(monkeypatch, "cnnbench.loss")
    assert check(TABLE, "model", {"name": "theirs"}) == ["model=theirs: no such model; choose from deep, wide"]


def test_the_table_wins_over_an_installed_package_of_the_same_name(monkeypatch):
    monkeypatch.setattr(lookup, "entry_points", lambda **_: pytest.fail("asked although the table has it"))
    assert build(TABLE, "model", {"name": "wide", "factor": 1}) == ("wide", 1)
