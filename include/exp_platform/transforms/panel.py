"""J5: cross products of a unit's daily values before assignment, for the pre-trend tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Aggregation, Metric
from exp_platform.metrics.values import DAY_US, HAS_PANEL, pre_period_days, unit_values
from exp_platform.transforms.exact_sums import exponent_of, limb_sums, power_of_two, total
from exp_platform.transforms.metric_statistics import by_metric
from exp_platform.transforms.unit_partials import HI, LO, USER, seen_events, whole_sum

ARM = ["variant_id", "cohort_date"]


@dataclass(frozen=True)
class Panel:
    """Daily values that one or more metrics share."""

    source: str
    aggregation: Aggregation
    days: int


def panels_of(metrics: Sequence[Metric]) -> dict[str, Panel]:
    """The panel of each metric that adds up over days (sum, count) or can happen on a day (any); ratios have none."""
    found = {}
    for metric in metrics:
        values = unit_values(metric)
        if len(values) == 1 and values[0].aggregation in HAS_PANEL and pre_period_days(metric) > 0:
            found[metric.name] = Panel(values[0].source, values[0].aggregation, pre_period_days(metric))
    return found


def daily_values(cohort: DataFrame, outcomes: DataFrame, panels: Sequence[Panel], cutoff: datetime) -> DataFrame:
    """One row per included unit × panel × relative day with an event: the value of that day.

    relative_day = floor((event - assignment) / 24 h), from -days to -1.
    """
    units = cohort.where("included").select(*USER, *ARM, F.unix_micros("assignment_time_utc").alias("assignment_us"))
    longest = max(panel.days for panel in panels)
    before = F.col("event_us") - F.col("assignment_us")
    events = seen_events(outcomes, [panel.source for panel in panels], cutoff)
    joined = events.join(units, USER, "inner").where((before < 0) & (before >= F.lit(-longest * DAY_US)))
    day = F.floor(before / F.lit(float(DAY_US))).cast("int")
    high = F.floor(F.col("value") * F.lit(HI))
    low = F.floor((F.col("value") - high / F.lit(HI)) * F.lit(LO))
    here = F.array_compact(
        F.array(
            *(
                F.when((F.col("metric_name") == panel.source) & (day >= -panel.days), F.lit(i))
                for i, panel in enumerate(panels)
            )
        )
    )
    long = joined.select(
        *USER, *ARM, day.alias("day"), "value", high.alias("hi"), low.alias("lo"), F.explode(here).alias("metric")
    )
    totals = long.groupBy(*USER, *ARM, "metric", "day").agg(
        F.sum("hi").alias("hi"),
        F.sum("lo").alias("lo"),
        F.count(F.lit(1)).alias("n"),
        F.max("value").alias("largest"),
    )
    return totals.select(*USER, *ARM, "metric", "day", _value_of_day(panels).alias("value"))


def panel_statistics(
    units: DataFrame, daily: DataFrame, panels: Sequence[Panel], metrics: dict[str, Panel], experiment_id: str
) -> DataFrame:
    """Rows of gold.fct_experiment_panel_statistics: n counts every included unit, events or not; every pair of days."""
    exponents = _exponents(daily, panels)
    scaled = F.col("value") * by_metric({i: power_of_two(-e) for i, e in enumerate(exponents)}, "double")
    daily = daily.withColumn("value", scaled)
    sums = daily.groupBy(*ARM, "metric", "day").agg(*limb_sums("s", F.col("value")))
    sums = sums.select(*ARM, "metric", "day", total("s", _back(exponents, 1)).alias("sum"))
    left = daily.select(*USER, *ARM, "metric", F.col("day").alias("day_i"), F.col("value").alias("value_i"))
    right = daily.select(*USER, "metric", F.col("day").alias("day_j"), F.col("value").alias("value_j"))
    pairs = left.join(right, [*USER, "metric"], "inner").where("day_i <= day_j")
    products = pairs.groupBy(*ARM, "metric", "day_i", "day_j").agg(*limb_sums("s", F.col("value_i") * F.col("value_j")))
    products = products.select(*ARM, "metric", "day_i", "day_j", total("s", _back(exponents, 2)).alias("sum_ij"))
    rows = (
        _grid(units, panels)
        .join(sums.withColumnsRenamed({"day": "day_i", "sum": "sum_i"}), [*ARM, "metric", "day_i"], "left")
        .join(sums.withColumnsRenamed({"day": "day_j", "sum": "sum_j"}), [*ARM, "metric", "day_j"], "left")
        .join(products, [*ARM, "metric", "day_i", "day_j"], "left")
    )
    names = by_metric_names(panels, metrics)
    return rows.select(
        F.lit(experiment_id).alias("experiment_id"),
        F.explode(names).alias("metric_name"),
        *ARM,
        "day_i",
        "day_j",
        "n",
        *(F.coalesce(c, F.lit(0.0)).alias(c) for c in ("sum_i", "sum_j", "sum_ij")),
    )


def by_metric_names(panels: Sequence[Panel], metrics: dict[str, Panel]) -> Column:
    """The names of the metrics that share a panel."""
    names = [F.array(*(F.lit(name) for name, own in metrics.items() if own == panel)) for panel in panels]
    return F.element_at(F.array(*names), F.col("metric") + 1)


def _grid(units: DataFrame, panels: Sequence[Panel]) -> DataFrame:
    """Every arm × cohort date × panel × pair of days, with its number of units."""
    counts = units.groupBy(*ARM).agg(F.count(F.lit(1)).alias("n"))
    spans = F.array(
        *(F.struct(F.lit(i).alias("metric"), F.lit(-panel.days).alias("first")) for i, panel in enumerate(panels))
    )
    days = counts.select(*ARM, "n", F.inline(spans)).select(
        *ARM, "n", "metric", F.explode(F.sequence(F.col("first"), F.lit(-1))).alias("day_i")
    )
    return days.select("*", F.explode(F.sequence(F.col("day_i"), F.lit(-1))).alias("day_j"))


def _value_of_day(panels: Sequence[Panel]) -> Column:
    values = {
        "sum": whole_sum("hi", "lo"),
        "count": F.col("n").cast("double"),
        "any": (F.col("largest") > 0).cast("double"),
    }
    chosen = [F.when(F.col("metric") == i, values[panel.aggregation]) for i, panel in enumerate(panels)]
    return F.coalesce(*chosen)


def _exponents(daily: DataFrame, panels: Sequence[Panel]) -> list[int]:
    largest = {
        row["metric"]: row["largest"]
        for row in daily.groupBy("metric").agg(F.max(F.abs("value")).alias("largest")).collect()
    }
    return [exponent_of(largest.get(i)) for i in range(len(panels))]


def _back(exponents: Sequence[int], power: int) -> Column:
    return by_metric({i: power_of_two(power * e) for i, e in enumerate(exponents)}, "double")
