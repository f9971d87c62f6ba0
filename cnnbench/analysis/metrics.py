"""The metrics of a run: for each number of summary.json that can be judged, what is better and how it is written."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnbench.config.mistakes import suggest
from cnnbench.errors import ConfigError

Interval = Sequence[float]
MISSED = "missed by some"
DEFAULT_MARGIN = 0.2  # points of an accuracy
RELATIVE_MARGIN = 0.02  # of the baseline's mean, for anything else
FEWEST_POINTS, MOST_POINTS = 0.01, 10.0
SMALLEST = 0.005  # of a difference in points: less would be rounded to nothing
MANY = 10_000  # from here on a number is written without decimals, but in full


@dataclass(frozen=True)
class Metric:
    """A number of summary.json.

    Attributes:
        key: its name there.
        name: what it is called in reports.
        higher_is_better: whether more of it is what one wants.
        is_fraction: shown as a percentage, and a difference of it in points.
        unit: of any other number.
        missing_is_infinite: a run that has a target and no such number has missed it; anything else without a number
            is not known.
    """

    key: str
    name: str
    higher_is_better: bool
    is_fraction: bool = False
    unit: str = ""
    missing_is_infinite: bool = False

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    @property
    def factor(self) -> float:
        """From the number to what is shown."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the greatest value there can be, as shown; None where there are none."""
        if not self.is_fraction:
            return None
        return (-100.0 if self.key == "train_val_gap" else 0.0), 100.0

    @property
    def shown_unit(self) -> str:
        """That of a value on the screen."""
        return "%" if self.is_fraction else self.unit

    @property
    def difference_unit(self) -> str:
        """That of a difference on the screen."""
        return "points" if self.is_fraction else self.unit

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        return f"{self.name}, {self.shown_unit}" if self.shown_unit else self.name

    @property
    def difference_axis(self) -> str:
        """A difference of the metric with its unit."""
        what = f"difference in {self.name}"
        return f"{what}, {self.difference_unit}" if self.difference_unit else what

    def write(self, value: float) -> str:
        """`91.25`: two decimals of a percentage, four digits of anything else, or all before the point; no unit."""
        return self._write(value)

    def write_spread(self, mean: float | None, sd: float | None) -> str:
        """`90.12 ± 0.34`, or the mean alone; without a finite one some runs have missed their target."""
        if mean is None or math.isinf(mean):
            return MISSED
        return self.write(mean) if sd is None else f"{self.write(mean)} ± {self.write(sd)}"

    def write_difference(self, value: float) -> str:
        """`+0.31`; of an infinite one, where runs missed their target, the direction. What rounding would hide is
        written out, as `+0.003`; nothing at all is `0.00`, without a sign."""
        if math.isinf(value):
            return "later" if value > 0 else "earlier"
        if self.is_fraction and 0 < abs(value) * self.factor < SMALLEST:
            return format(value * self.factor, "+.1g")
        return self._write(value, "+" if value else "")

    def write_interval(self, interval: Interval) -> str:
        """`[+0.12, +0.40]`, of a difference."""
        return f"[{', '.join(map(self.write_difference, interval))}]"

    def interval(self, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        """The interval in the unit that is shown."""
        return None if interval is None else (interval[0] * self.factor, interval[1] * self.factor)

    def _write(self, value: float, sign: str = "") -> str:
        shown = value * self.factor
        digits = ",.2f" if self.is_fraction else ",.0f" if abs(shown) >= MANY else ",.4g"
        return format(shown, sign + digits)


METRICS = {
    metric.key: metric
    for metric in (
        Metric("test_accuracy", "test accuracy", True, is_fraction=True),
        Metric("test_top5_accuracy", "top-5 test accuracy", True, is_fraction=True),
        Metric("test_loss", "test loss", False),
        Metric("best_val_accuracy", "best validation accuracy", True, is_fraction=True),
        Metric("objective", "objective", True, is_fraction=True),
        Metric("train_accuracy", "training accuracy", True, is_fraction=True),
        Metric("train_val_gap", "gap between training and validation accuracy", False, is_fraction=True),
        Metric("time_to_target", "training time to the target", False, unit="s", missing_is_infinite=True),
        Metric("train_seconds", "training time", False, unit="s"),
        Metric("total_seconds", "total time", False, unit="s"),
        Metric("images_per_second", "training throughput", True, unit="images/s"),
        Metric("latency_ms", "latency of one image", False, unit="ms"),
        Metric("parameters", "parameters", False),
        Metric("nonzero_parameters", "parameters that are not zero", False),
        Metric("macs", "multiply-adds per image", False),
        Metric("model_bytes", "model size", False, unit="bytes"),
        Metric("peak_memory_bytes", "peak memory", False, unit="bytes"),
        Metric("speedup", "times as fast as what was compressed", True, unit="x"),
        Metric("speedup_over_eager", "times as fast as at first in eager fp32", True, unit="x"),
        Metric("size_ratio", "times smaller on the disk", True, unit="x"),
        Metric("disk_bytes", "size on the disk", False, unit="bytes"),
    )
}


def metric_of(key: str) -> Metric:
    """The metric of this name.

    Raises:
        ConfigError: there is none.
    """
    if key not in METRICS:
        raise ConfigError(f"metric={key}: no such metric{suggest(key, METRICS)}")
    return METRICS[key]


def margin_in(given: str, value: float | None, metric: str) -> float | None:
    """The margin of a metric in its own numbers, of one in the unit of the tables (points of an accuracy), or of None.

    `given` is what was typed.

    Raises:
        ConfigError: it is no number from 0 on, or so large or small that another unit is meant.
    """
    scale = metric_of(metric)
    if value is None:
        return None
    what = f"{given}: should be"
    if not 0 <= value < math.inf:
        raise ConfigError(f"{what} a number of at least 0, as {DEFAULT_MARGIN}")
    if scale.is_fraction and value > MOST_POINTS:
        raise ConfigError(f"{what} in points, and {MOST_POINTS:g} at most: {value:g} would be {value:g} of 100 images")
    if scale.is_fraction and 0 < value < FEWEST_POINTS:
        meant = f"{100 * value:g}"
        raise ConfigError(f"{what} in points, as the tables are: write {meant} for {meant} points")
    return value / scale.factor


def default_margin(metric: str, mean: float) -> float:
    """That of who gives none: 0.2 points of a fraction, 2 % of the baseline's mean of seconds, bytes and losses."""
    scale = metric_of(metric)
    if scale.is_fraction:
        return DEFAULT_MARGIN / scale.factor
    return RELATIVE_MARGIN * abs(mean) if math.isfinite(mean) else 0.0


def number_of(summary: Mapping[str, Any], key: str) -> float | None:
    """A number of a summary; None where it is not known, infinity where a target was missed."""
    number = finite_number(summary.get(key))
    if number is None and key in METRICS and METRICS[key].missing_is_infinite and has_target(summary):
        return math.inf
    return number


def has_target(summary: Mapping[str, Any]) -> bool:
    """Whether the run had a target to reach."""
    target = summary.get("target")
    return isinstance(target, Mapping) and finite_number(target.get("value")) is not None


def finite_number(value: Any) -> float | None:
    """`value` as a float where it is a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    return None
