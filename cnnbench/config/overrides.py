"""Every mistake in the overrides of a command line, where Hydra would stop at the first."""

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cnnbench.config.catalogue import Catalogue
from cnnbench.config.catalogue import override as as_typed
from cnnbench.config.composition import Composer, compose_overrides, without_hydra
from cnnbench.config.cures import cure_of_choice, cure_of_key
from cnnbench.config.refusal import RUNS_CODE, foreign_words, is_hydras, is_special
from cnnbench.config.settings import check_values
from cnnbench.config.sweep_settings import check_composed
from cnnbench.config.sweeping import applicable, each_value_once, samples_of, values_of, without_values
from cnnbench.config.tables import GROUPS, LIST_GROUPS, OF_COMPRESSION, conf_folder
from cnnbench.config.typed import parse
from cnnbench.errors import CnnbenchError, ConfigError, first_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
Check = Callable[[DictConfig], object]
"""Raises ConfigError, with one line for every mistake in a composed config."""


def refuse_mistakes(
    overrides: Sequence[str],
    config_dir: str | None = None,
    *,
    sweep: bool = False,
    intervals: bool = False,
    values: bool = True,
    check: Check = check_composed,
) -> None:
    """Looks for every mistake in `overrides`, where Hydra would stop at the first; `check` looks at what they compose.

    In a sweep each value is tried once, beside the first values of the others; `intervals` it may have where something
    draws from them. `values=False` looks at choices and keys only, which is fast.

    Raises:
        ConfigError: with one line for each.
    """
    findings: list[str] = []
    groups = groups_of(config_dir)
    good: list[Override] = []
    wrong: list[tuple[str, str]] = []
    unclear: set[str] = set()  # groups whose settings cannot be judged, for their choice is wrong
    parsed = list(parse(overrides, findings, functools.partial(catalogue_beside, overrides, config_dir)))
    findings += foreign_words(parsed)
    for override in [override for override in parsed if not foreign_words([override]) and not is_hydras(override)]:
        refused = _wrong_use(override, groups)
        refused += [] if sweep else _wrong_sweep(override, parsed, groups, config_dir)
        refused += [] if refused or intervals else without_values(override, groups)
        choices = [] if refused else _wrong_choices(override, groups)
        findings += refused
        wrong += choices
        unclear |= {override.key_or_group} if refused or choices else set()
        good += [] if refused or choices else [override]
    composer = Composer(config_dir)

    def jobs_of(chosen: Sequence[Override]) -> Iterator[list[str]]:
        for job in each_value_once(chosen):
            yield applicable(job, composer) if sweep else job

    if values and not findings and not wrong and is_right(good, jobs_of, composer, check):
        return  # the rest is for telling what is wrong
    if unclear:
        good = [o for o in good if o.key_or_group.split(".")[0] not in unclear and "experiment" not in unclear]
    chosen = [override for override in good if _is_choice(override, groups)]
    try:
        jobs = list(each_value_once(chosen))
        composed = [OmegaConf.to_container(without_hydra(composer.compose(job))) for job in jobs]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(*findings, first_line(error)) from None
    except ConfigError as error:
        raise ConfigError(*findings, *error.findings) from None
    known = {key for job in jobs for key in composer.keys(job)}
    absent = [o for o in good if o not in chosen and o.key_or_group not in known]
    job = jobs[0]
    unknown = [o for o in absent if not o.is_add() or _objections(f"{o.key_or_group}: ", values_of(o), job, config_dir)]
    if wrong or unknown:
        catalogue = Catalogue(groups, choices_of(composed) | _right_of(parsed, wrong, groups), config_dir)
        findings += [
            f"{group}={choice}: no such {group}{cure_of_choice(group, choice, catalogue)}" for group, choice in wrong
        ]
        findings += [_unknown_key(override, catalogue) for override in unknown]
    if values:
        for job in jobs_of([override for override in good if override not in unknown]):
            findings += [finding for finding in _value_findings(job, composer, check) if finding not in findings]
    if findings:
        raise ConfigError(*findings)


def is_right(
    overrides: Sequence[Override],
    jobs_of: Callable[[Sequence[Override]], Iterator[list[str]]],
    composer: Composer,
    check: Check,
) -> bool:
    """Whether every job of these overrides has a config without a mistake, and every override is of use to one."""
    unused = {text for override in overrides for text in samples_of(override)}
    try:
        for job in jobs_of(overrides):
            if _value_findings(job, composer, check):
                return False
            unused -= set(job)
    except (HydraException, OmegaConfBaseException, ConfigError):  # of choices that cannot be composed
        return False
    return not unused


def choices_of(configs: Sequence[Any]) -> dict[str, list[str]]:
    """What composed configs have of each group."""
    groups = (*GROUPS, *OF_COMPRESSION)
    found: dict[str, dict[str, None]] = {group: {} for group in groups}
    for group, config in itertools.product(groups, configs):
        node = config.get(group) or {}
        found[group] |= dict.fromkeys(node if group in LIST_GROUPS else [str(node.get("name"))])
    return {group: list(names) for group, names in found.items()}


def catalogue_beside(words: Sequence[str], config_dir: str | None) -> Catalogue:
    """What can be typed beside these words, of which some are wrong; with the choices that they make, if right."""
    groups = groups_of(config_dir)
    choices = [text for text in words if text.partition("=")[0] in groups and "=" in text]
    try:
        composed = compose_overrides(choices, config_dir)
    except (HydraException, OmegaConfBaseException, ConfigError):
        composed = compose_overrides([], config_dir)
    return Catalogue(groups, choices_of([composed]), config_dir)


def own_settings(texts: Sequence[str], kind: type[Settings]) -> tuple[Settings, list[str]]:
    """The fields of the dataclass `kind` that stand among the overrides of a verb, and the other overrides.

    Raises:
        ConfigError: with one line for each field that has a wrong value.
    """
    defaults = kind()
    own = [text for text in texts if text.partition("=")[0] in asdict(defaults) and "=" in text]
    values: dict[str, Any] = {}
    for text in own:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise ConfigError(f"{text}: cannot be read as KEY=VALUE ({first_line(error)})") from None
        values[override.key_or_group] = text if override.is_sweep_override() else override.value()
    findings = check_values(asdict(defaults) | values, get_type_hints(kind, include_extras=True), "")
    if findings:
        raise ConfigError(*findings)
    return kind(**values), [text for text in texts if text not in own]


def groups_of(config_dir: str | None) -> dict[str, list[str]]:
    """The choices of every group, with those in the user's own folder.

    Raises:
        ConfigError: there is no such folder.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir={config_dir}: no such folder")
    groups: dict[str, list[str]] = {}
    for folder in (conf_folder(), Path(config_dir or conf_folder())):
        for path in sorted(folder.glob("*/*.yaml")):
            groups.setdefault(path.parent.name, []).append(path.stem)
    return {group: sorted(set(choices)) for group, choices in groups.items()}


def _is_choice(override: Override, groups: Mapping[str, list[str]]) -> bool:
    """Whether it picks from a group; `model={depth: 2}` changes values instead."""
    return override.key_or_group in groups and not isinstance(override.value(), dict)


def _wrong_use(override: Override, groups: Mapping[str, list[str]]) -> list[str]:
    """Why no choice can be made so."""
    group = override.key_or_group
    if override.is_delete() or not _is_choice(override, groups):
        return []
    if group == "ablation":
        return [f"{override.input_line}: a run has no such group; it is for `cnnbench ablate`"]
    if group not in LIST_GROUPS and any(isinstance(value, list) for value in _chosen_values(override)):
        names = [str(name) for value in _chosen_values(override) for name in _as_list(value)]
        cure = f"write {group}={names[0]}" if len(names) == 1 else f"sweep over them with -m {group}={','.join(names)}"
        return [f"{override.input_line}: takes one {group}, only {', '.join(LIST_GROUPS)} take a list; {cure}"]
    return []


def _wrong_choices(override: Override, groups: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """The choices that its group does not have, each with the group."""
    group = override.key_or_group
    if override.is_delete() or not _is_choice(override, groups):
        return []
    choices = [choice for value in _chosen_values(override) for choice in _as_list(value)]
    return [(group, "null" if choice is None else str(choice)) for choice in choices if choice not in groups[group]]


def _chosen_values(override: Override) -> list[Any]:
    parser = OverridesParser.create()
    return [parser.parse_override(text).value() for text in values_of(override)]


def _wrong_sweep(
    override: Override, parsed: Sequence[Override], groups: Mapping[str, list[str]], config_dir: str | None
) -> list[str]:
    """Why it cannot take several values without -m: one list was meant, a decimal comma, or a sweep."""
    if not override.is_sweep_override():
        return []
    key, _, values = (override.input_line or "").partition("=")
    ways = {}
    if key not in groups or key in LIST_GROUPS:
        ways[f"write one list as '{key}=[{values}]'"] = [f"{key}=[{values}]"]
    if re.fullmatch(r"\d+,\d+", values):
        ways[f"write {key}={values.replace(',', '.')}"] = [f"{key}={values.replace(',', '.')}"]
    ways[f"sweep over them with -m {as_typed(key, values)}"] = values_of(override)
    chosen = [other.input_line or "" for other in parsed if _is_choice(other, groups) and other is not override]
    works = [way for way, texts in ways.items() if not _objections(key, texts, chosen, config_dir)]
    return [f"{override.input_line}: several values; {', or '.join(works or list(ways)[-1:])}"]


def _objections(key: str, texts: Sequence[str], chosen: Sequence[str], config_dir: str | None) -> list[str]:
    """What is wrong with any of the overrides, all of the same key, beside these choices."""
    composer = Composer(config_dir)
    found = [finding for text in texts for finding in _value_findings([*chosen, text], composer, check_composed)]
    return [finding for finding in found if finding.startswith(key)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unknown_key(override: Override, catalogue: Catalogue) -> str:
    key = override.key_or_group
    if is_special(key):
        return f"{key}: {RUNS_CODE}"
    return f"{key}: unknown key{cure_of_key(key, (override.input_line or '').partition('=')[2], catalogue)}"


def _right_of(
    parsed: Sequence[Override], wrong: Sequence[tuple[str, str]], groups: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Of the lists in which a choice is wrong those that are right."""
    lists = [o for o in parsed if o.key_or_group in LIST_GROUPS and o.key_or_group in dict(wrong)]
    named = {o.key_or_group: [str(name) for value in _chosen_values(o) for name in _as_list(value)] for o in lists}
    return {group: [name for name in names if name in groups[group]] for group, names in named.items()}


def _value_findings(job: Sequence[str], composer: Composer, check: Check) -> Sequence[str]:
    try:
        check(composer.compose(job))
    except CnnbenchError as error:
        return error.findings
    except (HydraException, OmegaConfBaseException) as error:
        refused = {text: why for text in job if (why := _why_not_merged(text, job, composer))}
        if not refused:
            return [f"{' '.join(job)}: {first_line(error)}"]
        rest = [text for text in job if text not in refused]
        return [*(f"{text}: {why}" for text, why in refused.items()), *_value_findings(rest, composer, check)]
    return []


def _why_not_merged(text: str, job: Sequence[str], composer: Composer) -> str | None:
    """What Hydra says of one override beside the choices of its job: a mapping does not go where a list is."""
    choices = [other for other in job if "." not in other.partition("=")[0]]
    try:
        composer.compose([*choices, text] if text not in choices else choices[: choices.index(text) + 1])
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError):  # there is no such key in this job
            return None
        if text.startswith("+") and "already" in str(error):
            return f"is there already; write {text.lstrip('+')}"
        return f"does not fit there ({first_line(error)})"
    return None
