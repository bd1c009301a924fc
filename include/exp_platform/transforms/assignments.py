"""J1: one canonical assignment per user."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def canonical_assignments(
    events: DataFrame, *, start_ts: datetime, end_ts: datetime, cutoff: datetime, time_column: str = "assignment_ts"
) -> DataFrame:
    """One row per experiment × user: the earliest assignment event, at equal times that of the smallest variant.

    `events` are distinct assignment events or, where no assignment log exists, distinct exposure events with
    `time_column="exposure_ts"`. Events at or after `cutoff` (dt + 1 day) are not seen. A user is conflicted when
    any event seen names another variant, and outside the window when the winning time is not in [start_ts, end_ts).

        user_id  variant    assignment_ts      →  user_id  variant_id  n_variants  is_conflicted
        u1       treatment  2026-01-02 10:00      u1       control     2           true
        u1       control    2026-01-02 10:00
    """
    event_time = F.col(time_column)
    first = F.min(F.struct(event_time.alias("time"), F.col("variant")))
    winners = (
        events.where(event_time < F.lit(cutoff))
        .groupBy("experiment_id", "user_id")
        .agg(
            first.alias("first"),
            F.count(F.lit(1)).alias("n_assignment_events"),
            # A set of a few names is cheaper than a distinct count, which groups the events twice.
            F.size(F.collect_set("variant")).cast("long").alias("n_variants"),
        )
    )
    assignment_time = F.col("first.time")
    is_conflicted = F.col("n_variants") > 1
    is_outside_window = (assignment_time < F.lit(start_ts)) | (assignment_time >= F.lit(end_ts))
    return winners.select(
        "experiment_id",
        "user_id",
        F.col("first.variant").alias("variant_id"),
        assignment_time.alias("assignment_time_utc"),
        "n_assignment_events",
        "n_variants",
        is_conflicted.alias("is_conflicted"),
        is_outside_window.alias("is_outside_window"),
        (~is_conflicted & ~is_outside_window).alias("is_valid"),
    )
