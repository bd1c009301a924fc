"""J5: a unit's daily values before assignment, and their sums and cross products by arm and cohort date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.exact_sums import Limbs
from exp_platform.metrics.panel_sums import PANEL_SUMS_SQL, Products, Sums, panel_sums, totals
from exp_platform.metrics.panels import Panel
from exp_platform.metrics.scales import exponent_of
from exp_platform.metrics.values import DAY_US
from exp_platform.transforms.joins import HASH, JoinHint, events_of_units
from exp_platform.transforms.sql import quoted
from exp_platform.transforms.unit_partials import USER, cut_in_two, far_sum, seen_events, whole_sum

ARM = ("variant_id", "cohort_date")


def daily_values(
    cohort: DataFrame,
    outcomes: DataFrame,
    panels: Sequence[Panel],
    cutoff: datetime,
    *,
    far: bool = False,
    join: JoinHint = HASH,
) -> DataFrame:
    """One row per included unit × panel × relative day with an event: the value of that day.

    relative_day = floor((event - assignment) / 24 h), from -days to -1. Rows of a unit are in the same partition.
    """
    units = cohort.where("included").select(*USER, *ARM, F.unix_micros("assignment_time_utc").alias("assignment_us"))
    longest = max(panel.days for panel in panels)
    before = F.col("event_us") - F.col("assignment_us")
    events = seen_events(outcomes, [panel.source for panel in panels], cutoff)
    joined = events_of_units(units, events, join).where((before < 0) & (before >= F.lit(-longest * DAY_US)))
    days = joined.select(
        *USER,
        *ARM,
        "metric_name",
        "value",
        *cut_in_two(far=far),
        F.floor(before / F.lit(float(DAY_US))).cast("int").alias("day"),
    )
    totals_of_day = days.groupBy(*USER, *ARM, "metric_name", "day").agg(
        *(F.expr(sql) for sql in ("sum(hi) as hi", "sum(lo) as lo", "count(1) as n", "max(value) as largest")),
        *([far_sum().alias("far")] if far else []),
    )
    total = "near + far" if far else "near"
    of_day = {"sum": total, "count": "cast(n as double)", "any": "if(largest > 0, 1D, 0D)"}
    records = ", ".join(
        f"if(metric_name = {quoted(p.source)} and day >= {-p.days}, "
        f"named_struct('panel', {i}, 'value', {of_day[p.aggregation]}), null)"
        for i, p in enumerate(panels)
    )
    found = totals_of_day.withColumn("near", whole_sum("hi", "lo"))
    return found.selectExpr("user_id", *ARM, "day", f"inline(array_compact(array({records})))")


def panel_exponents(daily: DataFrame) -> dict[int, int]:
    """For each panel that has any value, the exponent of the power of two that brings its values within ±1."""
    rows = daily.groupBy("panel").agg(F.max(F.abs("value")).alias("largest")).collect()
    return {row["panel"]: exponent_of(row["largest"]) for row in rows}


def day_sums(daily: DataFrame, exponents: dict[int, int], limbs: Limbs) -> DataFrame:
    """Per partition, the limbs of the sums of each day's values and of the products of each pair of days."""

    def of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return panel_sums(batches, exponents, limbs)

    return daily.mapInArrow(of_partition, PANEL_SUMS_SQL)


def sums_and_products(daily: DataFrame, limbs: Limbs) -> tuple[Sums, Products]:
    """Sums over units by panel × arm × cohort date × day, and of products by pair of days, day_i <= day_j."""
    exponents = panel_exponents(daily)
    return totals(day_sums(daily, exponents, limbs).toArrow(), exponents)
