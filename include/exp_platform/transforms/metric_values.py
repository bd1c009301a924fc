"""Unit rows as J5 reads them: one column per number of a metric; and the caps and scales of those numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Cap, Metric
from exp_platform.metrics.families import has_unit_values
from exp_platform.metrics.scales import Scale, Scales, exponent_of, power_of_two
from exp_platform.metrics.values import unit_values
from exp_platform.transforms.caps import capped, column_bounds, pooled_quantiles

# The maps that hold a unit's numbers, and the letter that their columns begin with here.
MAPS = {"metrics": "y", "covariates": "x", "did_pre": "p"}


@dataclass(frozen=True)
class Number:
    """One number of a unit: `y0` is the value of metric 0, `y0_1` a ratio's denominator, `x` covariates, `p` pre."""

    column: str
    source: str  # the map
    key: str
    metric: Metric


def numbers_of(index: int, metric: Metric) -> tuple[Number, ...]:
    """The numbers of one metric: value, covariate and pre-period, for a ratio all three of both parts."""
    return tuple(
        Number(f"{letter}{index}" + (f"_{part}" if part else ""), source, value.key, metric)
        for source, letter in MAPS.items()
        for part, value in enumerate(unit_values(metric))
    )


def metric_values(units: DataFrame, metrics: Sequence[Metric]) -> DataFrame:
    """One row per unit: arm, cohort date, bucket, dimensions, and for each metric its numbers and `mature<i>`.

    An event-level quantile has only `y<i>`, its number of events or null.
    """
    numbers = [n for i, metric in enumerate(metrics) for n in numbers_of(i, metric)]
    return units.select(
        "variant_id",
        "cohort_date",
        "unit_bucket",
        "dimensions",
        *(F.col(n.source).getItem(n.key).alias(n.column) for n in numbers),
        *(
            F.col("event_counts").getItem(m.name).cast("double").alias(f"y{i}")
            for i, m in enumerate(metrics)
            if not has_unit_values(m)
        ),
        *(F.col("mature").getItem(metric.name).alias(f"mature{i}") for i, metric in enumerate(metrics)),
    )


def pooled_scales(values: DataFrame, metrics: Sequence[Metric]) -> Scales:
    """Cap and exponent of every number, from all non-null values of included units, all arms pooled.

    Value, covariate and pre-period are each capped from their own distribution, as are a ratio's two parts. A cap of 0
    is not applied: it would wipe the metric out.
    """
    numbers = {n.column: n for i, metric in enumerate(metrics) for n in numbers_of(i, metric)}
    by_quantile = {
        column: n.metric.cap.quantile
        for column, n in numbers.items()
        if n.metric.cap is not None and n.metric.cap.quantile is not None
    }
    quantiles = pooled_quantiles(values, by_quantile)
    units, bounds = column_bounds(values, tuple(numbers))
    caps = {column: _in_force(n.metric.cap, quantiles.get(column)) for column, n in numbers.items()}
    scales = {column: Scale(caps[column], exponent_of(bounds[column].magnitude(caps[column]))) for column in numbers}
    return Scales(units, scales)


def caps_not_applied(scales: Scales, metrics: Sequence[Metric]) -> list[str]:
    """A sentence for each metric whose cap came out as 0 and was therefore left off."""
    return [
        f"metric '{n.metric.name}': the cap of {n.key} is 0 and was not applied: at least that share of units is at 0"
        for i, metric in enumerate(metrics)
        for n in numbers_of(i, metric)
        if metric.cap is not None and n.source == "metrics" and scales.cap(n.column) is None and scales.units
    ]


def scaled(column: str, scale: Scale) -> str:
    """SQL of a number after its cap, divided by its power of two; null stays null."""
    return f"{capped(column, scale.cap)} * {power_of_two(-scale.exponent)!r}D"


def _in_force(cap: Cap | None, quantile: float | None) -> float | None:
    if cap is None:
        return None
    value = cap.value if cap.value is not None else quantile
    return value or None
