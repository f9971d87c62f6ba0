"""The metrics of a run: which way is better, and how they are written for people."""

from collections.abc import Sequence
from dataclasses import dataclass

LOWER_IS_BETTER = ("loss", "seconds", "bytes", "ms", "macs", "parameters", "gap")  # the last word of a metric's name
FRACTIONS = ("accuracy", "gap")
Interval = Sequence[float]


def higher_is_better(metric: str) -> bool:
    """Whether more of this metric is what one wants."""
    return metric.rpartition("_")[2] not in LOWER_IS_BETTER


@dataclass(frozen=True)
class Scale:
    """How a metric is written: fractions as percentages, their differences in points; `sign`: -1 if less is better."""

    name: str
    factor: float
    unit: str
    difference_unit: str
    sign: int

    @classmethod
    def of(cls, metric: str) -> "Scale":
        """The scale of a number of summary.json."""
        sign = 1 if higher_is_better(metric) else -1
        name = metric.replace("_", " ")
        if metric.rpartition("_")[2] in FRACTIONS:
            return cls(name, 100.0, "%", "points", sign)
        return cls(name, 1.0, "", "", sign)

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def difference_axis(self) -> str:
        """A difference of the metric with its unit."""
        what = f"difference in {self.name}"
        return f"{what}, {self.difference_unit}" if self.difference_unit else what

    def write(self, value: float) -> str:
        """`91.25`: two decimals of a percentage, four digits of anything else; without the unit."""
        return format(value * self.factor, self._digits)

    def write_difference(self, value: float) -> str:
        """`+0.31`."""
        return format(value * self.factor, f"+{self._digits}")

    def write_interval(self, interval: Interval) -> str:
        """`[+0.12, +0.40]`, of a difference."""
        return f"[{', '.join(map(self.write_difference, interval))}]"

    def interval(self, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        """The interval in the unit that is shown."""
        return None if interval is None else (interval[0] * self.factor, interval[1] * self.factor)

    @property
    def _digits(self) -> str:
        return ",.2f" if self.factor == 100 else ",.4g"
