"""J5: a unit's daily values before assignment, and their sums and cross products by arm and cohort date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import reduce
from operator import add
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.exact_sums import Limbs
from exp_platform.metrics.panels import Panel
from exp_platform.metrics.scales import exponent_of, power_of_two
from exp_platform.metrics.values import DAY_US
from exp_platform.transforms.sql import quoted
from exp_platform.transforms.unit_partials import USER, cut_in_two, far_sum, seen_events, whole_sum

ARM = ("variant_id", "cohort_date")


def daily_values(
    cohort: DataFrame, outcomes: DataFrame, panels: Sequence[Panel], cutoff: datetime, *, far: bool = False
) -> DataFrame:
    """One row per included unit × panel × relative day with an event: the value of that day.

    relative_day = floor((event - assignment) / 24 h), from -days to -1.
    """
    units = cohort.where("included").select(*USER, *ARM, F.unix_micros("assignment_time_utc").alias("assignment_us"))
    longest = max(panel.days for panel in panels)
    before = F.col("event_us") - F.col("assignment_us")
    events = seen_events(outcomes, [panel.source for panel in panels], cutoff)
    joined = events.join(units, USER, "inner").where((before < 0) & (before >= F.lit(-longest * DAY_US)))
    days = joined.select(
        *USER,
        *ARM,
        "metric_name",
        "value",
        *cut_in_two(far=far),
        F.floor(before / F.lit(float(DAY_US))).cast("int").alias("day"),
    )
    here = ", ".join(
        f"if(metric_name = {quoted(p.source)} and day >= {-p.days}, {i}, null)" for i, p in enumerate(panels)
    )
    long = days.selectExpr(*USER, *ARM, "day", "value", "hi", "lo", f"explode(array_compact(array({here}))) as panel")
    totals = long.groupBy(*USER, *ARM, "panel", "day").agg(
        *(F.expr(sql) for sql in ("sum(hi) as hi", "sum(lo) as lo", "count(1) as n", "max(value) as largest")),
        *([far_sum().alias("far")] if far else []),
    )
    of_day = {
        "sum": whole_sum("hi", "lo") + F.col("far") if far else whole_sum("hi", "lo"),
        "count": F.expr("cast(n as double)"),
        "any": F.expr("if(largest > 0, 1D, 0D)"),
    }
    value = F.coalesce(*(F.when(F.col("panel") == i, of_day[p.aggregation]) for i, p in enumerate(panels)))
    return totals.select(*USER, *ARM, "panel", "day", value.alias("value"))


def panel_exponents(daily: DataFrame) -> dict[int, int]:
    """For each panel that has any value, the exponent of the power of two that brings its values within ±1."""
    rows = daily.groupBy("panel").agg(F.max(F.abs("value")).alias("largest")).collect()
    return {row["panel"]: exponent_of(row["largest"]) for row in rows}


def day_sums(daily: DataFrame, exponents: dict[int, int], limbs: Limbs) -> dict[tuple[int, str, date, int], float]:
    """The sum over units of a day's values, by panel × arm × cohort date × day."""
    cut = _scaled(daily, exponents).selectExpr(*ARM, "panel", "day", *limbs.columns("s", "value"))
    return _collected(cut, ("day",), exponents, limbs, 1)


def day_products(
    daily: DataFrame, exponents: dict[int, int], limbs: Limbs
) -> dict[tuple[int, str, date, int, int], float]:
    """The sum over units of the product of two days' values, day_i <= day_j."""
    days = F.collect_list(F.struct("day", "value")).alias("days")
    lists = _scaled(daily, exponents).groupBy(*USER, *ARM, "panel").agg(days)
    first = lists.selectExpr(*ARM, "panel", "days", "inline(days) as (day_i, value_i)")
    pairs = first.selectExpr(*ARM, "panel", "day_i", "value_i", "inline(days) as (day_j, value_j)")
    products = limbs.columns("s", "value_i * value_j")
    cut = pairs.where("day_i <= day_j").selectExpr(*ARM, "panel", "day_i", "day_j", *products)
    return _collected(cut, ("day_i", "day_j"), exponents, limbs, 2)


def _scaled(daily: DataFrame, exponents: dict[int, int]) -> DataFrame:
    scale = " ".join(f"when {panel} then {power_of_two(-e)!r}D" for panel, e in exponents.items())
    return daily.withColumn("value", F.expr(f"value * case panel {scale} else 1D end" if scale else "value"))


def _collected(
    cut: DataFrame, days: tuple[str, ...], exponents: dict[int, int], limbs: Limbs, power: int
) -> dict[Any, float]:
    sums = cut.groupBy("panel", *ARM, *days).agg(*(F.expr(sql) for sql in limbs.sums(["s"])))
    return {
        tuple(row[key] for key in ("panel", *ARM, *days)): (
            reduce(add, (row[limb] for limb in limbs.names("s"))) * power_of_two(power * exponents[row["panel"]])
        )
        for row in sums.collect()
    }
