"""J5: a unit's daily values before assignment, and their sums and cross products by arm and cohort date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.metrics.values import DAY_US
from exp_platform.sums.panel_sums import PANEL_SUMS_SQL, PanelCut, panel_sums, sources_of, totals
from exp_platform.sums.panels import Panel, PanelSums
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
    cluster: str | None = None,
) -> DataFrame:
    """One row per included unit × source × relative day with an event: what its events add up to.

    relative_day = floor((event - assignment) / 24 h), back to the longest panel's first day. Rows of a unit are in the
    same partition: the join puts them there, and grouping by unit and more leaves them where they are. `cluster` is a
    dimension whose value comes with each row.
    """
    arm = (*ARM, *(["cluster"] if cluster else []))
    of_cluster = [F.col("dimensions")[cluster].alias("cluster")] if cluster else []
    unit = F.monotonically_increasing_id().alias("unit")  # only tells units apart: a number travels lighter than a name
    assignment = F.unix_micros("assignment_time_utc").alias("assignment_us")
    units = cohort.where("included").select(*USER, *ARM, *of_cluster, assignment, unit)
    longest = max(panel.days for panel in panels)
    before = F.col("event_us") - F.col("assignment_us")
    sources = sources_of(panels)
    events = seen_events(outcomes, sources, cutoff)
    cases = " ".join(f"when {quoted(name)} then {i}" for i, name in enumerate(sources))
    joined = events_of_units(units, events, join).where((before < 0) & (before >= F.lit(-longest * DAY_US)))
    days = joined.select(
        *USER,
        *arm,
        "unit",
        F.expr(f"case metric_name {cases} end").alias("source"),
        "value",
        *cut_in_two(far=far),
        F.floor(before / F.lit(float(DAY_US))).cast("int").alias("day"),
    )
    found = days.groupBy(*USER, *arm, "unit", "source", "day").agg(
        *(F.expr(sql) for sql in ("sum(hi) as hi", "sum(lo) as lo", "count(1) as events", "max(value) as largest")),
        *([far_sum().alias("far")] if far else []),
    )
    total = whole_sum("hi", "lo") + F.col("far") if far else whole_sum("hi", "lo")
    positive = F.expr("cast(largest > 0 as int)").alias("positive")
    return found.select("unit", *arm, "source", "day", total.alias("total"), "events", positive)


def source_bounds(outcomes: DataFrame, panels: Sequence[Panel]) -> dict[str, float]:
    """The largest absolute value of an event, by source; read from two columns, without a join."""
    largest = outcomes.where(F.col("metric_name").isin(*sources_of(panels))).groupBy("metric_name")
    return {row[0]: row[1] for row in largest.agg(F.max(F.abs("value"))).collect()}


def day_sums(daily: DataFrame, panels: Sequence[Panel], cut: PanelCut) -> DataFrame:
    """Per partition, the limbs of the sums of each day's values and of the products of each pair of days."""

    def of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return panel_sums(batches, panels, cut.exponents, cut.limbs)

    return daily.mapInArrow(of_partition, PANEL_SUMS_SQL)


def sums_and_products(daily: DataFrame, panels: Sequence[Panel], cut: PanelCut) -> PanelSums:
    """Sums over units by panel × arm × cohort date × day (and cluster), and of products by pair of days, i <= j."""
    return PanelSums(*totals(day_sums(daily, panels, cut).toArrow(), cut.exponents))
