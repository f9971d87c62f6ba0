"""What an ablation trains: the techniques of a file in conf/ablation, and the variants that switch them on or off."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cnnbench.config.mistakes import suggest
from cnnbench.config.plain_yaml import UNREADABLE, read_yaml
from cnnbench.config.tables import GROUPS, LIST_GROUPS, conf_folder
from cnnbench.errors import ConfigError
from cnnbench.runs.variant_names import ALL, BASELINE, REFERENCES

Mode = Literal["add_one", "leave_one", "pairs"]
NAME = re.compile(r"[a-z0-9][a-z0-9_]*")  # becomes part of a folder's name


@dataclass(frozen=True)
class Ablation:
    """The overrides of a baseline, and of each technique beside it."""

    baseline: list[str]
    techniques: dict[str, list[str]]


@dataclass(frozen=True)
class Variant:
    """A config of the ablation: the techniques it has switched on, and all its overrides but the seed."""

    name: str
    techniques: tuple[str, ...]
    overrides: list[str]


def read_ablation(name: str, config_dir: str | None = None) -> Ablation:
    """The file of this name in conf/ablation, or in the folder `ablation` of the user's own `config_dir`.

    Raises:
        ConfigError: there is none, or it does not hold a baseline and techniques.
    """
    folders = [conf_folder() / "ablation", *([Path(config_dir) / "ablation"] if config_dir else [])]
    files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
    if name not in files:
        raise ConfigError(f"ablation={name}: no such ablation{suggest(name, files)}")
    try:
        content = read_yaml(files[name])
    except UNREADABLE as error:
        raise ConfigError(f"{files[name]}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or set(content) != {"baseline", "techniques"}:
        raise ConfigError(f"{files[name]}: should hold `baseline` and `techniques`, and nothing else")
    refuse_malformed(files[name], content["baseline"], content["techniques"])
    return Ablation(**content)


def refuse_malformed(file: Path, baseline: Any, techniques: Any) -> None:
    """Looks at what was read from an ablation's file.

    Raises:
        ConfigError: with one line for everything that is not a list of overrides, and every unusable name.
    """
    if not isinstance(techniques, dict) or not techniques:
        raise ConfigError(f"{file}: techniques: should map names to lists of overrides")
    lists = {"baseline": baseline} | {f"techniques.{name}": overrides for name, overrides in techniques.items()}
    findings = [
        f"{file}: {key}: should be a list of overrides, as [model.norm=batch]; one with brackets inside needs quotes"
        for key, overrides in lists.items()
        if not isinstance(overrides, list) or not all(isinstance(text, str) and "=" in text for text in overrides)
    ]
    findings += [
        f"{file}: techniques.{name}: choose another name, of small letters, digits and _"
        for name in techniques
        if not NAME.fullmatch(str(name)) or name in REFERENCES
    ]
    if findings:
        raise ConfigError(*findings)


def choose_techniques(ablation: Ablation, wanted: Sequence[str] | None) -> Ablation:
    """The ablation with the `wanted` techniques only, in their order; with all of them where that is None.

    Raises:
        ConfigError: naming each that it does not have.
    """
    if wanted is None:
        return ablation
    unknown = [name for name in wanted if name not in ablation.techniques]
    if unknown:
        known = list(ablation.techniques)
        raise ConfigError(*(f"techniques={name}: no such technique{suggest(name, known)}" for name in unknown))
    if not wanted:
        raise ConfigError("techniques=[]: should name at least one technique")
    return Ablation(ablation.baseline, {name: ablation.techniques[name] for name in wanted})


def make_variants(ablation: Ablation, mode: Mode, overrides: Sequence[str]) -> list[Variant]:
    """The variants to train, the one that the others are compared with first. `overrides` apply to all of them.

    add_one: the baseline, and it with each technique. leave_one: all techniques, and all but each. pairs: as add_one,
    and the baseline with every two techniques.
    """
    names = list(ablation.techniques)
    chosen: dict[str, tuple[str, ...]]
    match mode:
        case "leave_one":
            chosen = {ALL: tuple(names)}
            chosen |= {f"without_{left}": tuple(name for name in names if name != left) for left in names}
        case "add_one":
            chosen = {BASELINE: ()} | {name: (name,) for name in names}
        case "pairs":
            chosen = {BASELINE: ()} | {name: (name,) for name in names}
            chosen |= {"+".join(pair): pair for pair in itertools.combinations(names, 2)}
    shared = combine([ablation.baseline, overrides], [])
    return [
        Variant(name, techniques, combine([shared], [ablation.techniques[technique] for technique in techniques]))
        for name, techniques in chosen.items()
    ]


def combine(lists: Iterable[Sequence[str]], techniques: Iterable[Sequence[str]]) -> list[str]:
    """One list of overrides from several, each of which comes to what `train` makes of it, in whatever order it stands.

    Of two values of one key the later counts. A choice (`optimizer=adam`) takes with it what the lists before its own
    set of the former one (`optimizer.nesterov=false`). What techniques choose of `augmentation` and `regularization`,
    of which a run may have several, comes to what is chosen.
    """
    combined: dict[str, str] = {}
    for texts in lists:
        _put(combined, texts)
    for texts in techniques:
        _put(combined, texts, unite=True)
    return list(combined.values())


def _put(combined: dict[str, str], texts: Sequence[str], *, unite: bool = False) -> None:
    parts = [(*_key_and_value(text), text) for text in texts]
    for setting in [key for key in combined if any(key.startswith(f"{choice}.") for choice, *_ in parts)]:
        if setting.partition(".")[0] in GROUPS.keys() - LIST_GROUPS:
            del combined[setting]
    for key, value, text in parts:
        together = unite and key in LIST_GROUPS and key in combined
        chosen = ",".join(_union(combined[key].partition("=")[2], value)) if together else ""
        combined.pop(key, None)
        combined[key] = f"{key}=[{chosen}]" if together else text


def _key_and_value(text: str) -> tuple[str, str]:
    """Of `++model.depth=2` the key `model.depth`; `model={depth: 2}` is of settings, no choice of a model."""
    key, _, value = text.lstrip("+~").partition("=")
    return (f"{key}.{{}}" if value.lstrip().startswith("{") else key), value


def _union(*lists: str) -> list[str]:
    names = [name.strip() for text in lists for name in text.strip().strip("[]").split(",")]
    return list(dict.fromkeys(name for name in names if name and name != "none"))


def refuse_equal(group_hashes: Mapping[str, str]) -> None:
    """Looks for variants, by name, that are the same config.

    Raises:
        ConfigError: with one line for each that says nothing new.
    """
    first: dict[str, str] = {}
    findings = []
    for name, group_hash in group_hashes.items():
        if first.setdefault(group_hash, name) != name:
            findings.append(
                f"{name}: the same config as {first[group_hash]}, one of its overrides sets what is set already; "
                "choose others with 'techniques=[A,B]'"
            )
    if findings:
        raise ConfigError(*findings)
