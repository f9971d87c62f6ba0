"""What a search may draw: Hydra's sweeps in the overrides of a command line, as Optuna's distributions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from cnnbench.config.sweeping import every_job
from cnnbench.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def search_space(
    overrides: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> tuple[dict[str, "BaseDistribution"], list[str]]:
    """The distribution of each key that has several values, and the other overrides.

    `a,b`, `range(...)` and `glob(...)` are choices; `interval(low,high)` is uniform, `int(interval(low,high))` of whole
    numbers, `tag(log,interval(low,high))` uniform in the logarithm.

    Raises:
        ConfigError: with one line for each interval that is none, or nothing is left open.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [override for override in parsed if override.is_sweep_override()]
    if not swept:
        raise ConfigError("search: no key has several values; write one as optimizer.lr='tag(log,interval(1e-4,1e-1))'")
    findings: list[str] = []
    space: dict[str, BaseDistribution] = {}
    for override in swept:
        try:
            space[override.get_key_element()] = distribution(override, groups)
        except ValueError as error:
            findings.append(f"{override.input_line}: {error}; write it as interval(LOW,HIGH)")
    if findings:
        raise ConfigError(*findings)
    return space, [str(override.input_line) for override in parsed if override not in swept]


def distribution(override: Override, groups: Mapping[str, Sequence[str]]) -> "BaseDistribution":
    """That of one key.

    Raises:
        ValueError: its ends are the wrong way round, or a logarithm is asked for of what is not positive.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        prefix = f"{override.get_key_element()}="
        values = every_job([str(override.input_line)], groups)
        return CategoricalDistribution([text.removeprefix(prefix) for (text,) in values])
    assert sweep.start is not None
    assert sweep.end is not None
    log = "log" in sweep.tags
    if isinstance(sweep.start, int) and isinstance(sweep.end, int):
        return IntDistribution(sweep.start, sweep.end, log=log)
    return FloatDistribution(float(sweep.start), float(sweep.end), log=log)


def as_overrides(parameters: Mapping[str, Any]) -> list[str]:
    """The values drawn, as typed; of numbers five digits."""
    return [f"{key}={value:.5g}" if isinstance(value, float) else f"{key}={value}" for key, value in parameters.items()]
