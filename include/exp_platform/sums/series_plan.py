"""The plan of a series of running values: its metrics with their windows and caps, arms and days."""

from __future__ import annotations

from dataclasses import dataclass, replace

from exp_platform.config.models import Metric
from exp_platform.metrics.families import Family, families
from exp_platform.metrics.values import Period, unit_values
from exp_platform.sums.scales import Scales

UNIT_COLUMNS = ("user_id", "variant_id", "anchor_utc", "covariates")  # of unit rows that the kernels read


@dataclass(frozen=True)
class Span:
    """The days of a series, as days since 1970."""

    first: int
    last: int

    @property
    def days(self) -> int:
        """Number of days."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class SeriesPlan:
    """The metrics of an experiment with their windows and caps, its arms and its days."""

    metrics: tuple[Metric, ...]
    periods: tuple[Period, ...]  # the attribution window of each metric
    scales: Scales  # caps in force, and exponents of the covariates
    variants: tuple[str, ...]
    span: Span
    chosen: frozenset[str]  # names of the metrics to count

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the metrics, with the chosen members that have a series."""
        kept = (
            replace(f, members=tuple(m for m in f.members if has_series(m[1]) and m[1].name in self.chosen))
            for f in families(self.metrics)
        )
        return tuple(family for family in kept if family.members)


def has_series(metric: Metric) -> bool:
    """A quantile has none: its bins would have to be kept by day and bucket."""
    return metric.estimand != "quantile"


def counts_without_events(metric: Metric) -> bool:
    """True where a unit without events has the value 0, so that it counts as soon as its window opens."""
    return all(value.traits.zero_without_events for value in unit_values(metric))


def products_of(family: Family) -> dict[str, str]:
    """The products of a family that a series has: all but those of difference in differences."""
    return {name: letters for name, letters in family.products.items() if not name.startswith("v_")}


def changes_later(letters: str) -> bool:
    """True for a product of the running value, false for one of covariates alone."""
    return "y" in letters or "d" in letters
