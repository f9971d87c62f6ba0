"""What a config must not do, whoever wrote it: run code, read the environment, have Hydra write where it likes.

Every config that Hydra composes passes here twice, whatever asks for it (`composition.Loader`): the overrides before
Hydra reads a file, and the composed tree before anyone uses it.
"""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import OmegaConfGrammarParser, parse

from cnnbench.config.mistakes import did_you_mean, suggest
from cnnbench.config.tables import GROUPS, LIST_GROUPS, OF_SWEEPS
from cnnbench.errors import ConfigError

SUBMITIT = "timeout_min cpus_per_task gpus_per_node tasks_per_node mem_gb nodes name stderr_to_stdout"
SLURM = (
    "account array_parallelism comment constraint cpus_per_gpu exclude gpus_per_task gres max_num_timeout mem_per_cpu "
    "mem_per_gpu partition qos signal_delay_s"
)
PLUGINS: dict[str, dict[str, Sequence[str]]] = {
    "launcher": {
        "basic": (),
        "joblib": ("n_jobs", "backend", "batch_size", "timeout", "verbose"),
        "submitit_local": SUBMITIT.split(),
        "submitit_slurm": f"{SUBMITIT} {SLURM}".split(),
        "ray": ("address", "cpus_per_job", "gpus_per_job"),
    },
    "sweeper": {"basic": ()},
}
"""What may be chosen as `hydra/launcher=X`, and the `hydra.launcher.KEY` that take a plain value. Not among them: what
runs commands (`setup`, `python`), is evaluated (joblib's `pre_dispatch`), names files or is a mapping."""

LAUNCHERS = {
    "local": "basic",
    "joblib": "joblib",
    "submitit_local": "submitit_local",
    "slurm": "submitit_slurm",
    "ray": "ray",
}
"""The launcher of each of our choices of `sweep`."""

DISTRIBUTIONS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "ray",
}
"""What pip installs for the launchers that do not come with Hydra."""

KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra/launcher", "hydra.launcher.KEY")
FOLDER_NAME = re.compile(
    r"(?!\.)(?:[\w+.,=-]|\$\{(?:slug:(?:[^{}]|\$\{[\w.:]+\})*|random_hex:|hydra:job\.num)\})+", re.ASCII
)
OF_HYDRA_ALONE = ("overrides", "runtime", "mode")  # differ between any two configs, and only Hydra writes them
RUNS_CODE = "refused, a config must not run code; leave it out"


def is_hydras(override: Override) -> bool:
    """Whether it is about Hydra's own part of the config."""
    return re.split(r"[./@:]", override.key_or_group)[0] == "hydra"


def is_of_sweeps(override: Override) -> bool:
    """Whether it is about how a sweep is run."""
    return override.key_or_group.split(".")[0] in OF_SWEEPS


def is_special(path: str) -> bool:
    """Whether it is the path of `_target_`, `_partial_` or another key by which Hydra calls what it instantiates."""
    return re.fullmatch(r"_\w+_", path.rpartition(".")[2]) is not None


def foreign_words(overrides: Sequence[Override]) -> list[str]:
    """One line for each of these overrides that renames a choice, or says to Hydra what it must not be told."""
    renamed = [finding for override in overrides for finding in _renamed(override)]
    hydras = [override for override in overrides if is_hydras(override)]
    chosen = {o.key_or_group.removeprefix("hydra/"): o.value() for o in hydras if "/" in o.key_or_group}
    for launcher in filter(None, map(_launcher_of, overrides)):
        chosen.setdefault("launcher", launcher)
    wrong = [(override.input_line, _what_is_wrong(override, chosen)) for override in hydras]
    return renamed + [f"{text}: {what}" for text, what in wrong if what]


def not_installed(overrides: Sequence[Override], is_there: Callable[[str], bool]) -> list[str]:
    """One line for each launcher chosen whose package is missing, `is_there` telling of the path of a config."""
    findings = []
    for override in overrides:
        launcher = _launcher_of(override)
        if launcher in DISTRIBUTIONS and not (is_there(f"hydra/launcher/{launcher}") and _is_importable(launcher)):
            findings.append(f"{override.input_line}: not installed; pip install {DISTRIBUTIONS[launcher]}")
    return findings


def _launcher_of(override: Override) -> str | None:
    """The launcher that the override chooses, by its own name or by a choice of `sweep`."""
    if override.key_or_group == "hydra/launcher":
        return str(override.value())
    return LAUNCHERS.get(str(override.value())) if override.key_or_group == "sweep" else None


def _is_importable(launcher: str) -> bool:
    """Of a launcher of our own, whether there is the package that it needs."""
    return launcher != "ray" or importlib.util.find_spec("ray") is not None


def _renamed(override: Override) -> Iterator[str]:
    """A line where it gives a choice another name: the settings of one function would go to another."""
    value = override.value()
    inner = _walk(value, f"{override.key_or_group}.") if isinstance(value, dict) else ()
    for path, name in [(override.key_or_group, value), *inner]:
        group, *rest = path.split(".")
        if group in GROUPS and rest[-1:] == ["name"] and len(rest) == (2 if group in LIST_GROUPS else 1):
            choice = f"'{group}=[{name}]'" if group in LIST_GROUPS else f"{group}={name}"
            yield f"{path}={name}: would give the settings of one {group} to another; choose both with {choice}"


def _what_is_wrong(override: Override, chosen: Mapping[str, Any]) -> str | None:
    key, value = override.key_or_group, override.value()
    if override.package or override.is_add() or override.is_force_add() or override.is_delete():
        return "refused, Hydra's own keys are given as KEY=VALUE, without a prefix or package"
    if override.is_sweep_override():
        return "should be one value; a sweep does not vary Hydra's own keys"
    match re.split(r"([./])", key)[1:]:
        case [".", "run" | "sweep", ".", "dir"]:
            return None if _is_plain(value) and str(value).strip() else "should be the path of a folder"
        case [".", "sweep", ".", "subdir"]:
            if isinstance(value, str | int) and FOLDER_NAME.fullmatch(str(value)):
                return None
            return "should be the name of a folder in hydra.sweep.dir; write ${slug:${KEY}} for the value of a key"
        case ["/", "launcher" | "sweeper" as kind]:
            known = PLUGINS[kind]
            return None if value in known else f"no such {kind}{suggest(str(value), known)}"
        case [".", "launcher" | "sweeper" as kind, ".", parameter]:
            name = str(chosen.get(kind, "basic"))
            known_parameters = PLUGINS[kind].get(name, ())
            if parameter not in known_parameters:
                return f"unknown key of {kind} {name}{suggest(parameter, known_parameters)}"
            return None if _is_plain(value) or value is None else "should be a number, a text, true, false or null"
    return f"refused, of Hydra's own keys only these can be given: {', '.join(KEYS)}{did_you_mean(key, KEYS)}"


def _is_plain(value: Any) -> bool:
    """A number, or a text of one line without control characters."""
    return str(value).isprintable() if isinstance(value, str) else isinstance(value, int | float)


def refuse_code(composed: DictConfig, commanded: Mapping[str, Any]) -> None:
    """Looks at a composed config; `commanded` are those of its nodes that only the command line may change, as it alone
    makes them, without any other files.

    Raises:
        ConfigError: with one line for everything in it that could run code, read the environment, or that says to
            Hydra what only the command line may.
    """
    tree = raw_tree(composed)
    ours = {key: value for key, value in tree.items() if key != "hydra"}
    findings = []
    for path, value in _walk(ours):
        if is_special(path):
            findings.append(f"{path}: {RUNS_CODE}")
        if isinstance(value, str) and _calls_a_resolver(value):
            findings.append(f"{path}={value}: refused, a value can only refer to another key, as in ${{epochs}}")
    findings += [
        f"{key}: refused, only the command line can change this, not a file or a package"
        for name, node in commanded.items()
        for key in _differing(commanded_part(tree, name), node, name)
    ]
    if findings:
        raise ConfigError(*findings)


def raw_tree(composed: DictConfig) -> dict[str, Any]:
    """The composed config as plain values, with interpolations as they are written."""
    tree = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def commanded_part(tree: Mapping[str, Any], name: str) -> Any:
    """A node that only the command line may change; of Hydra's own what decides where it writes, how it logs and what
    it calls."""
    if name != "hydra":
        return tree.get(name)
    part = {key: value for key, value in tree["hydra"].items() if key not in OF_HYDRA_ALONE}
    return part | {"job": {key: value for key, value in part["job"].items() if key != "override_dirname"}}


def _walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield f"{prefix}{key}", value
        yield from _walk(value, f"{prefix}{key}.")


def _calls_a_resolver(text: str) -> bool:
    """Whether there is a `${name:...}` in it, which would read the environment or a file, and not another key."""
    if "${" not in text:
        return False
    try:
        waiting = [parse(text)]
    except OmegaConfBaseException:
        return False  # it cannot be resolved either, which is told where that is tried
    while waiting:
        part = waiting.pop()
        if isinstance(part, OmegaConfGrammarParser.InterpolationResolverContext):
            return True
        waiting += getattr(part, "children", None) or []
    return False


def _differing(one: Any, other: Any, path: str) -> list[str]:
    """The keys beneath `path` at which two trees are not the same."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [path]
    keys = dict.fromkeys([*one, *other])
    return [key for name in keys for key in _differing(one.get(name, ...), other.get(name, ...), f"{path}.{name}")]
