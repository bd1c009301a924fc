"""J5: a unit's daily values before assignment, and their sums and cross products by arm and cohort date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import reduce
from operator import add

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.panels import Panel
from exp_platform.metrics.scales import exponent_of, power_of_two
from exp_platform.metrics.values import DAY_US
from exp_platform.transforms.exact_sums import limb_columns, limb_names, limb_sums
from exp_platform.transforms.unit_partials import USER, cut_in_two, seen_events, whole_sum

ARM = ("variant_id", "cohort_date")


def daily_values(cohort: DataFrame, outcomes: DataFrame, panels: Sequence[Panel], cutoff: datetime) -> DataFrame:
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
        *cut_in_two(),
        F.floor(before / F.lit(float(DAY_US))).cast("int").alias("day"),
    )
    here = ", ".join(
        f"if(metric_name = '{panel.source}' and day >= {-panel.days}, {i}, null)" for i, panel in enumerate(panels)
    )
    long = days.selectExpr(*USER, *ARM, "day", "value", "hi", "lo", f"explode(array_compact(array({here}))) as panel")
    totals = long.groupBy(*USER, *ARM, "panel", "day").agg(
        *(F.expr(sql) for sql in ("sum(hi) as hi", "sum(lo) as lo", "count(1) as n", "max(value) as largest"))
    )
    of_day = {
        "sum": whole_sum("hi", "lo"),
        "count": F.expr("cast(n as double)"),
        "any": F.expr("if(largest > 0, 1D, 0D)"),
    }
    value = F.coalesce(*(F.when(F.col("panel") == i, of_day[p.aggregation]) for i, p in enumerate(panels)))
    return totals.select(*USER, *ARM, "panel", "day", value.alias("value"))


def day_sums(daily: DataFrame) -> tuple[dict[tuple[int, str, date, int], float], dict[int, int]]:
    """The sum of each panel × arm × cohort date × day, and the exponent that brings each panel's values within ±1."""
    totals = (
        daily.select("panel", *ARM, "day", "value", *cut_in_two())
        .groupBy("panel", *ARM, "day")
        .agg(F.sum("hi").alias("hi"), F.sum("lo").alias("lo"), F.max(F.abs("value")).alias("largest"))
    )
    rows = totals.select("panel", *ARM, "day", whole_sum("hi", "lo").alias("sum"), "largest").collect()
    largest: dict[int, float] = {}
    for row in rows:
        largest[row["panel"]] = max(row["largest"], largest.get(row["panel"], 0.0))
    sums = {(row["panel"], row["variant_id"], row["cohort_date"], row["day"]): row["sum"] for row in rows}
    return sums, {panel: exponent_of(value) for panel, value in largest.items()}


def day_products(
    daily: DataFrame, exponents: dict[int, int], units: int
) -> dict[tuple[int, str, date, int, int], float]:
    """The sum over units of the product of two days' values, day_i <= day_j."""
    if not exponents:
        return {}
    scale = " ".join(f"when {panel} then {power_of_two(-e)!r}D" for panel, e in exponents.items())
    small = daily.selectExpr(*USER, *ARM, "panel", "day", f"value * case panel {scale} end as value")
    lists = small.groupBy(*USER, *ARM, "panel").agg(F.collect_list(F.struct("day", "value")).alias("days"))
    first = lists.selectExpr(*ARM, "panel", "days", "inline(days) as (day_i, value_i)")
    pairs = first.selectExpr(*ARM, "panel", "day_i", "value_i", "inline(days) as (day_j, value_j)").where(
        "day_i <= day_j"
    )
    cut = pairs.selectExpr(*ARM, "panel", "day_i", "day_j", *limb_columns("s", "value_i * value_j", units))
    sums = cut.groupBy("panel", *ARM, "day_i", "day_j").agg(*(F.expr(sql) for sql in limb_sums(["s"])))
    return {
        (row["panel"], row["variant_id"], row["cohort_date"], row["day_i"], row["day_j"]): (
            reduce(add, (row[limb] for limb in limb_names("s"))) * power_of_two(2 * exponents[row["panel"]])
        )
        for row in sums.collect()
    }
