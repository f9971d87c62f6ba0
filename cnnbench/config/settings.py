"""From a name in a config to a call: explicit tables of functions, checked against their signatures.

A function's parameters before `*` are its context (what the run knows: the model, the image shape, ...).
Those after `*` are its settings: exactly the keys of its YAML, with their types and ranges as annotations.
"""

import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from cnnbench.config.mistakes import suggest
from cnnbench.config.tables import GROUPS, Table
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


FolderPath = NewType("FolderPath", str)
"""A folder; in a checked config an absolute path, whatever the process's working directory was."""
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(at_least=0)]
Fraction = Annotated[float, Range(at_least=0, at_most=1)]
ProperFraction = Annotated[float, Range(at_least=0, below=1)]
PositiveInt = Annotated[int, Range(at_least=1)]
Count = Annotated[int, Range(at_least=0)]


LARGEST_INT = 2**63 - 1  # what a tensor of whole numbers can hold


def spell(value: Any) -> str:
    """A setting as YAML spells it."""
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)


def find(table: Table, group: str, name: str) -> Callable[..., Any] | None:
    """The function called `name`: from `table`, else from an installed package's entry point."""
    if name in table:
        return table[name]
    for entry in entry_points(group=GROUPS[group].entry_points, name=name):
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
    table: Table, group: str, node: Node, *, path: str | None = None, shared: Callable[..., Any] | None = None
) -> list[str]:
    """Every mistake in `node`, one line each, named as the user typed it (`model.widths=[0]: ...`).

    `node["name"]` chooses from `table`; the other keys are checked against that function's settings and
    those of `shared` (keys that every choice of the group has). `path` is the prefix in messages.
    """
    path = path or group
    name = node.get("name")
    function = find(table, group, name) if isinstance(name, str) else None
    if function is None:
        return [f"{path}={spell(name)}: no such {group}{suggest(str(name), table)}"]
    expected = settings(function) | (settings(shared) if shared else {})
    return check_values({k: v for k, v in node.items() if k != "name"}, expected, path)


def canonical_node(table: Table, group: str, node: Node, *, shared: Callable[..., Any] | None = None) -> dict[str, Any]:
    """A node in which `check` has found no mistake, with its values in their `canonical` form."""
    function = find(table, group, node["name"])
    assert function is not None
    expected = {"name": str} | settings(function) | (settings(shared) if shared else {})
    return canonical_values(node, expected)


def check_values(node: Node, expected: Mapping[str, Any], path: str) -> list[str]:
    """Every unknown or missing key and every value of the wrong type or out of range, one line each."""
    prefix = f"{path}." if path else ""
    findings = []
    for key, value in node.items():
        if key not in expected:
            findings.append(f"{prefix}{key}: unknown key{suggest(str(key), expected)}")
        elif not accepts(expected[key], value):
            largest = f", at most {LARGEST_INT}" if isinstance(value, int) and value > LARGEST_INT else ""
            findings.append(f"{prefix}{key}={spell(value)}: should be {in_words(expected[key])}{largest}")
    findings += [f"{prefix}{key}: missing; give {in_words(expected[key])}" for key in expected if key not in node]
    return findings


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
        return accepts(arguments[0], value) and all(value in limit for limit in arguments[1:])
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
        return isinstance(value, str)
    return annotation is Any or value is annotation or isinstance(value, annotation or types.NoneType)


def canonical(annotation: Any, value: Any) -> Any:
    """`value`, which the annotation accepts, in the one form that equal settings share: 0 as 0.0 where it is a number
    with fractions, paths absolute."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return canonical(arguments[0], value)
    if origin in (Union, types.UnionType):
        return canonical(next(choice for choice in arguments if accepts(choice, value)), value)
    if origin is list:
        return [canonical(arguments[0], item) for item in value]
    if annotation is float:
        return float(value)
    if annotation is FolderPath:
        return os.path.abspath(os.path.expanduser(value))
    return value


def canonical_values(node: Node, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values in their `canonical` form, in the order of the node."""
    return {key: canonical(expected[key], value) for key, value in node.items()}


def in_words(annotation: Any) -> str:
    """The annotation in words: `a number > 0`, `one of max, avg`, `a list of whole numbers >= 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([in_words(arguments[0]), *map(str, arguments[1:])])
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
