"""What runs say of a key: of their summaries, configs and tags. By it they are chosen, sorted and labelled."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cnnbench.analysis.config_labels import choice_of, label_configs, write_value
from cnnbench.analysis.groups import Run, config_of
from cnnbench.analysis.listing import Listed
from cnnbench.analysis.metrics import METRICS, finite_number
from cnnbench.analysis.where import comparisons, parse
from cnnbench.config.mistakes import did_you_mean
from cnnbench.config.tables import BY_NAME, GROUPS
from cnnbench.errors import ConfigError
from cnnbench.runs.format import SUMMARY_KEYS
from cnnbench.runs.identity import COMPUTES_NOTHING, SEPARATES_NO_GROUPS

OWN = ("path", "tag", "status", "error", "started")
"""What is asked of the run itself, before its summary and its config."""
NESTED = ("target", "files", "data_fingerprints", "parent", "origin", "clock", "teacher")
OF_SUMMARY = tuple(key for key in SUMMARY_KEYS if key not in NESTED)
OF_BOTH = ("epochs", *GROUPS)
"""Keys of a summary that are in a config too, where the run did not come as far as to note them."""
Config = Mapping[str, Any]


class Keys:
    """Looks up keys of these runs. A config is read when it is first needed: one for each group of runs, but of each
    run where they may differ within a group."""

    def __init__(self, runs: Iterable[Listed]) -> None:
        self.runs = list(runs)
        self._members: dict[str, list[Listed]] = defaultdict(list)
        for run in self.runs:
            self._members[group_of(run)].append(run)
        self._of_group: dict[str, Config | None] = {}
        self._of_run: dict[Path, Config | None] = {}

    def config(self, run: Listed) -> Config | None:
        """The config that the runs of its group share, without the seed; None where none can be read."""
        group = group_of(run)
        if group not in self._of_group:
            self._of_group[group] = config_of([Run(each.path, dict(each.summary)) for each in self._members[group]])
        return self._of_group[group]

    def own_config(self, run: Listed) -> Config | None:
        """The run's own config, without the seed."""
        if run.path not in self._of_run:
            self._of_run[run.path] = config_of([Run(run.path, dict(run.summary))])
        return self._of_run[run.path]

    def value(self, run: Listed, key: str) -> Any:
        """What the run says of `key`; None where it says nothing.

        A part of a config is called by what it has chosen: a name, or a list of them.
        """
        if key in OWN:
            return {"path": str(run.path), "tag": list(run.tags)}.get(key, getattr(run, key, None))
        value = run.summary.get(key)
        if value is not None and not isinstance(value, Mapping):
            return value
        if key in OF_SUMMARY and key not in OF_BOTH:
            return None
        return value_in(self._config_with(run, key), key)

    def _config_with(self, run: Listed, key: str) -> Config | None:
        differs = key in SEPARATES_NO_GROUPS or key.partition(".")[0] in COMPUTES_NOTHING
        return self.own_config(run) if differs else self.config(run)

    def refuse_unknown(self, what: str, keys: Iterable[str]) -> None:
        """Raises: ConfigError, with one line for each of the keys that no run has."""
        unknown = [key for key in dict.fromkeys(keys) if not self._is_known(key)]
        if not unknown:
            return
        known = [*OWN, *OF_SUMMARY, *dict.fromkeys(key for run in self.runs for key in keys_in(self.config(run)))]
        cure = "; choose a key of summary.json, as test_accuracy, of the config, as optimizer.lr, or tag or path"
        raise ConfigError(
            *(f"{what} {key}: no run has such a key{did_you_mean(key, known) or cure}" for key in unknown)
        )

    def _is_known(self, key: str) -> bool:
        if key in OWN or key in OF_SUMMARY:
            return True
        return any(
            (key in run.summary and key not in NESTED) or key in keys_in(self._config_with(run, key))
            for run in self.runs
        )


def group_of(run: Listed) -> str:
    """The name of the runs that share a config; of a run without one its path."""
    return run.text("group_hash") or str(run.path)


def value_in(config: Config | None, key: str) -> Any:
    """What a config says of a dotted key; None where it says nothing."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping):
            return None
        node = node.get(part, {} if node is config and part in BY_NAME else None)
    if isinstance(node, Mapping):
        return list(node) if key in BY_NAME else choice_of(node)
    return node


def keys_in(config: Config | None, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a config, and its parts that have chosen something."""
    for name, value in (config or {}).items():
        key = f"{prefix}{name}"
        if not isinstance(value, Mapping):
            yield key
            continue
        if key in BY_NAME or choice_of(value) is not None:
            yield key
        yield from keys_in(value, f"{key}.")


def choose(keys: Keys, where: str) -> list[Listed]:
    """The runs for which a condition holds.

    Raises:
        ConfigError: it is none, or asks for a key that no run has.
    """
    condition = parse(where)
    keys.refuse_unknown("--where", (comparison.key for comparison in comparisons(condition)))
    return [run for run in keys.runs if condition.matches(partial(keys.value, run))]


def in_order(runs: Iterable[Listed], keys: Keys, key: str, *, reverse: bool = False) -> list[Listed]:
    """The runs by a key: of a metric the best first, other numbers and then texts ascending; `reverse` the other way
    round. Those without the key come last.

    Raises:
        ConfigError: no run has such a key.
    """
    keys.refuse_unknown("--sort", [key])
    sign = -METRICS[key].sign if key in METRICS else 1
    places: list[tuple[tuple[int, float, str], Listed]] = []
    without = []
    for run in runs:
        value = keys.value(run, key)
        if value is None or value == []:
            without.append(run)
        elif (number := finite_number(value)) is not None:
            places.append(((0, sign * number, ""), run))
        else:
            places.append(((1, 0.0, write_value(value)), run))
    return [run for _, run in sorted(places, key=lambda place: place[0], reverse=reverse)] + without


def labels(runs: Collection[Listed], keys: Keys) -> dict[Path, str]:
    """What differs between the configs of the runs, as one would write it; empty of a run whose config is not known."""
    named = {run.path: group_of(run) for run in runs if run.text("group_hash")}
    configs = {group_of(run): keys.config(run) for run in runs if run.path in named}
    found = label_configs({group: config for group, config in configs.items() if config is not None})
    return {path: found.get(group, "") for path, group in named.items()}
