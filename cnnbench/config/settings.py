"""From a name in a config to a call: explicit tables of functions, checked against their signatures.

A function's parameters before `*` are its context (what the run knows: the model, the image shape, ...).
Those after `*` are its settings: exactly the keys of its YAML, with their types and ranges as annotations.
"""

import inspect
import math
import os
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from cnnbench.config import synonyms
from cnnbench.config.catalogue import override
from cnnbench.config.mistakes import another_name, did_you_mean, same_name, suggest
from cnnbench.config.tables import Table, group_called
from cnnbench.config.words import SLIP, nearest
from cnnbench.errors import ConfigError

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """The numbers a setting may take, as metadata of `Annotated`."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class PartOfTraining:
    """A length or a moment of the training, as metadata of `Annotated`: a number strictly between 0 and 1 is a share of
    the run's epochs, any other counts epochs.

    Attributes:
        at_least: the fewest epochs.
        whole: only whole epochs count. In a checked config a share has become so many of them, see `whole_epochs`.
        latest: "end": not after the training. "before the end": what begins then would never act at the end.
            "any": where it is after the end, it is never reached.
    """

    at_least: int = 0
    whole: bool = False
    latest: Literal["end", "before the end", "any"] = "end"

    def __contains__(self, value: float) -> bool:
        return 0 < value < 1 or (value >= self.at_least and (not self.whole or isinstance(value, int)))

    def fits(self, value: float, epochs: int) -> bool:
        """Whether a training of so many epochs has room for it."""
        length = in_epochs(value, epochs)
        return self.latest == "any" or length < epochs or (self.latest == "end" and length == epochs)

    def __str__(self) -> str:
        many = "whole number of epochs" if self.whole else "number of epochs"
        return f"a {many} >= {self.at_least} or, as a number between 0 and 1, a share of them"


FolderPath = NewType("FolderPath", str)
"""A folder; in a checked config an absolute path, whatever the process's working directory was."""
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(at_least=0)]
Fraction = Annotated[float, Range(at_least=0, at_most=1)]
ProperFraction = Annotated[float, Range(at_least=0, below=1)]
PositiveInt = Annotated[int, Range(at_least=1)]
Count = Annotated[int, Range(at_least=0)]
TrainingLength = Annotated[float, PartOfTraining()]
TrainingMoment = Annotated[float, PartOfTraining(latest="before the end")]
WholeEpochs = Annotated[int, PartOfTraining(at_least=1, whole=True)]
Patience = Annotated[int, PartOfTraining(at_least=1, whole=True, latest="any")]


LARGEST_INT = 2**63 - 1  # what a tensor of whole numbers can hold


def in_epochs(value: float, epochs: int) -> float:
    """The epochs, maybe fractional, that a setting of `PartOfTraining` stands for in a training of `epochs`."""
    return value * epochs if 0 < value < 1 else value


def whole_epochs(value: float, epochs: int) -> int:
    """The same in whole epochs: a share is rounded up, so that it is never 0 (0.5 of three epochs are 2)."""
    return max(1, math.ceil(round(in_epochs(value, epochs), 9)))  # 0.07 * 100 is a little more than 7


OTHER_WORDS = {
    "yes": True,
    "y": True,
    "on": True,
    "enabled": True,
    "no": False,
    "n": False,
    "off": False,
    "disabled": False,
    "none": None,
    "nil": None,
}


def spell(value: Any) -> str:
    """A setting as YAML spells it."""
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)


def find(table: Table, group: str, name: str) -> Callable[..., Any] | None:
    """The function called `name`: from `table`, else from an installed package's entry point."""
    if name in table:
        return table[name]
    for entry in entry_points(group=group_called(group).entry_points, name=name):
        return entry.load()
    return None


def settings(function: Callable[..., Any]) -> dict[str, Any]:
    """The names and annotations of the keyword-only parameters: what the YAML of `function` holds."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}


def context_names(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters before `*`: what the run must supply."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def check(
    table: Table,
    group: str,
    node: Node,
    *,
    path: str | None = None,
    shared: Callable[..., Any] | None = None,
    epochs: int | None = None,
) -> list[str]:
    """Every mistake in `node`, one line each, named as the user typed it (`model.widths=[0]: ...`).

    `node["name"]` chooses from `table`; the other keys are checked against that function's settings and
    those of `shared` (keys that every choice of the group has), where the run's `epochs` are given also against
    these. `path` is the prefix in messages.
    """
    path = path or group
    name = node.get("name")
    function = find(table, group, name) if isinstance(name, str) else None
    if function is None:
        return [f"{path}={spell(name)}: no such {group}{suggest(str(name), table)}"]
    expected = settings(function) | (settings(shared) if shared else {})
    return check_values({k: v for k, v in node.items() if k != "name"}, expected, path, epochs)


def canonical_node(
    table: Table, group: str, node: Node, *, shared: Callable[..., Any] | None = None, epochs: int
) -> dict[str, Any]:
    """A node in which `check` has found no mistake, with its values in their `canonical` form."""
    function = find(table, group, node["name"])
    assert function is not None
    expected = {"name": str} | settings(function) | (settings(shared) if shared else {})
    return canonical_values(node, expected, epochs)


def check_values(node: Node, expected: Mapping[str, Any], path: str, epochs: int | None = None) -> list[str]:
    """Every unknown or missing key and every value of the wrong type, out of range or after `epochs`, one line each."""
    prefix = f"{path}." if path else ""
    findings = []
    for key, value in node.items():
        if key not in expected:
            findings.append(f"{prefix}{key}: unknown key{suggest(str(key), expected)}")
        elif not accepts(expected[key], value):
            largest = f", at most {LARGEST_INT}" if isinstance(value, int) and value > LARGEST_INT else ""
            cure = cure_of_value(f"{prefix}{key}", expected[key], value)
            findings.append(f"{prefix}{key}={spell(value)}: should be {in_words(expected[key])}{largest}{cure}")
        elif epochs is not None and (late := too_late(expected[key], value, epochs)):
            findings.append(f"{prefix}{key}={spell(value)}: {late}")
    findings += [f"{prefix}{key}: missing; give {in_words(expected[key])}" for key in expected if key not in node]
    return findings


def cure_of_value(key: str, annotation: Any, value: Any) -> str:
    """What was probably meant by a value that does not fit; empty where nothing comes to mind."""
    if isinstance(value, list):
        return f"; write {override(key, spell(value[0]))}" if len(value) == 1 and accepts(annotation, value[0]) else ""
    if not isinstance(value, str):
        fitting = next((other for other in ([value], _whole(value)) if accepts(annotation, other)), None)
        return f"; write {override(key, spell(fitting))}" if fitting is not None else ""
    words = {spell(word): word for word in (True, False, None)} | OTHER_WORDS
    word = value.lower().strip(" .!")
    if word in words and accepts(annotation, words[word]):
        return f"; write {key}={spell(words[word])}"
    if accepts(annotation, 1) and (several := re.fullmatch(r"(\d+)\s*(?:-|\.\.|to)\s*(\d+)", value)):
        return f"; of several write -m '{key}=range({several[1]},{int(several[2]) + 1})'"
    if number := re.fullmatch(r"\s*([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([%a-zA-Z]*)\s*", value):
        read = float(number[1])
        values = (read / 100,) if number[2] == "%" else ()
        fitting = [other for other in (*values, _whole(read), read) if accepts(annotation, other)]
        return f"; write {key}={spell(fitting[0])}" if fitting else ""
    known = [spell(choice) for choice in choices_of(annotation)]
    others = synonyms.VALUES.get(key.rpartition(".")[2], {})
    slips = nearest(value, known, SLIP)
    meant = same_name(value, known, others) or (slips[0] if slips else another_name(value, known, others))
    return f"; did you mean {meant!r}?" if meant in known else did_you_mean(value, known)


def _whole(value: Any) -> Any:
    """A number without a fraction as a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def choices_of(annotation: Any) -> list[Any]:
    """The values that it names one by one."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for inner in get_args(annotation) for choice in choices_of(inner)]


def build(table: Table, group: str, node: Node, *, path: str | None = None, **context: Any) -> Any:
    """What the function `node["name"]` returns for its settings in `node` and the parts of `context` it names.

    Raises:
        ConfigError: with every finding of `check`.
    """
    findings = check(table, group, node, path=path)
    if findings:
        raise ConfigError(*findings)
    function = find(table, group, node["name"])
    assert function is not None  # check found it
    values = {key: value for key, value in node.items() if key != "name"}
    return function(**{name: context[name] for name in context_names(function)}, **values)


def accepts(annotation: Any, value: Any) -> bool:
    """Whether `value`, as YAML reads it, fits the annotation; NaN, infinity and more than 64 bits never do."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = float if _part_of_training(annotation) else arguments[0]  # which takes a share of whole epochs too
        return accepts(kind, value) and all(value in limit for limit in arguments[1:])
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return any(accepts(choice, value) for choice in arguments)
    if origin in (list, dict):
        items = value.values() if isinstance(value, dict) else value
        return isinstance(value, origin) and all(accepts(arguments[-1], item) for item in items)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INT
    if annotation is FolderPath:
        return isinstance(value, str) and "://" not in value
    return annotation is Any or value is annotation or isinstance(value, annotation or types.NoneType)


def _part_of_training(annotation: Any) -> PartOfTraining | None:
    return next((part for part in get_args(annotation)[1:] if isinstance(part, PartOfTraining)), None)


def too_late(annotation: Any, value: Any, epochs: int) -> str | None:
    """What is wrong with `value`, which the annotation accepts, in a training of `epochs`; None where it fits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return next(filter(None, (too_late(arguments[0], item, epochs) for item in value)), None)
    if origin in (Union, types.UnionType):
        return too_late(next(choice for choice in arguments if accepts(choice, value)), value, epochs)
    part = _part_of_training(annotation)
    if part is None or part.fits(value, epochs):
        return None
    most = "at most" if part.latest == "end" else "less than"
    has = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return f"the training has {has}; set it to {most} {epochs}, or to a share of them as 0.5, or raise epochs"


def canonical(annotation: Any, value: Any, epochs: int) -> Any:
    """`value`, which the annotation accepts, in the one form that equal settings share: 0 as 0.0 where it is a number
    with fractions, paths absolute, a share of `epochs` in whole ones where only these count."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        part = _part_of_training(annotation)
        return whole_epochs(value, epochs) if part and part.whole else canonical(arguments[0], value, epochs)
    if origin in (Union, types.UnionType):
        return canonical(next(choice for choice in arguments if accepts(choice, value)), value, epochs)
    if origin is list:
        return [canonical(arguments[0], item, epochs) for item in value]
    if annotation is float:
        return float(value)
    if annotation is FolderPath:
        return os.path.abspath(os.path.expanduser(value))
    return value


def rescaled(annotation: Any, value: Any, epochs: int, new: int) -> Any:
    """A canonical value of a training of `epochs` as it is in one of `new`: lengths and moments as the same share."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return [rescaled(arguments[0], item, epochs, new) for item in value]
    if origin in (Union, types.UnionType):
        return rescaled(next(choice for choice in arguments if accepts(choice, value)), value, epochs, new)
    part = _part_of_training(annotation)
    if part is None or part.latest == "any" or 0 < value < 1:
        return value
    share = min(value / epochs, 1.0)
    return whole_epochs(share, new) if part.whole else new * share


def canonical_values(node: Node, expected: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Checked values in their `canonical` form, in the order of the node."""
    return {key: canonical(expected[key], value, epochs) for key, value in node.items()}


def in_words(annotation: Any) -> str:
    """The annotation in words: `a number > 0`, `one of max, avg`, `a list of whole numbers >= 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        part = _part_of_training(annotation)
        return str(part) if part else " ".join([in_words(arguments[0]), *map(str, arguments[1:])])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(choice) for choice in arguments)
    if origin is list:
        return f"a list, each {in_words(arguments[0])}"
    words = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a text",
        FolderPath: "a path",
        types.NoneType: "null",
    }
    return words.get(annotation, "a mapping" if origin is dict else str(annotation))
