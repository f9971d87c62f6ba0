"""The jobs of a sweep: every combination of the values, each with the settings that its choices have."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.errors import HydraException

from cnnbench.config.composition import Composer
from cnnbench.config.refusal import is_hydras
from cnnbench.errors import ConfigError


def every_job(overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The overrides of each job of a sweep: every combination of the values, those of the last changing fastest.

    Raises:
        ConfigError: with one line for every sweep that names no values.
    """
    swept = OverridesParser.create().parse_overrides(list(overrides))
    if findings := [finding for override in swept for finding in without_values(override, groups)]:
        raise ConfigError(*findings)
    return [list(job) for job in itertools.product(*(_each_value(override, groups) for override in swept))]


def without_values(override: Override, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a sweep that names no values: an interval, or a glob that matches nothing."""
    if _each_value(override, groups):
        return []
    return [
        f"{override.input_line}: stands for no values that could be tried; write them as {override.key_or_group}=A,B"
    ]


def values_of(override: Override) -> list[str]:
    """The override as typed, or if it sweeps one for each value; none where they cannot be enumerated."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    try:
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    except HydraException:  # an interval, or glob(*)
        return []


def _each_value(override: Override, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The override with each of its values, those of a glob too; none of an interval."""
    return values_of(override) or _matches(override, groups)


def _matches(override: Override, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """What a glob over the choices of a group stands for."""
    pattern, key = override.value(), override.key_or_group
    if not isinstance(pattern, Glob):
        return []
    return [f"{override.get_key_element()}={name}" for name in pattern.filter(list(groups.get(key, [])))]


def ends_of(override: Override) -> list[str]:
    """The override with the two ends of an interval."""
    interval = override.value()
    if not isinstance(interval, IntervalSweep):
        return []
    return [f"{override.get_key_element()}={end}" for end in (interval.start, interval.end)]


def samples_of(override: Override) -> list[str]:
    """The override with each of its values, or with the ends of its interval."""
    return values_of(override) or ends_of(override)


def each_value_once(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """The overrides of single jobs: the first values of all sweeps, then each other value beside these; of an interval
    its ends."""
    texts = [values for override in overrides if (values := samples_of(override))]
    first = [values[0] for values in texts]
    yield first
    for place, values in enumerate(texts):
        for value in values[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def applicable(job: Sequence[str], composer: Composer) -> list[str]:
    """The overrides of a job without those whose key its choices do not have."""
    known = composer.keys(job)
    return [
        override.input_line or ""
        for override in OverridesParser.create().parse_overrides(list(job))
        if override.key_or_group in known or override.package or not _changes_a_value(override)
    ]


def _changes_a_value(override: Override) -> bool:
    """Whether it is for a key that has to be there; a group has no dot, and whether it is one Hydra says."""
    prefixed = override.is_add() or override.is_force_add() or override.is_delete()
    return "." in override.key_or_group and not prefixed and not is_hydras(override)


def left_out(jobs: Sequence[Sequence[str]], composer: Composer) -> dict[str, list[Sequence[str]]]:
    """By each override that some of the jobs have no use for, these jobs."""
    found: dict[str, list[Sequence[str]]] = {}
    for job in jobs:
        for text in set(job) - set(applicable(job, composer)):
            found.setdefault(text, []).append(job)
    return found
