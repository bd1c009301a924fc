"""J2: daily measures of assignment, exposure and outcome logging, which exp_platform.quality.verdicts judges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.lake.tables import QUALITY_FLAGS
from exp_platform.transforms.first_reason import first_reason

KEYS = ["experiment_id", "variant_id", "date"]
# Flags of validly assigned users, in the order in which the verdicts count a user once.
JUDGED_ONCE = ("multi_variation_exposure", "variant_mismatch", "pre_assignment_exposure", "exposure_outside_window")


def daily_quality(assignments: DataFrame, validation: DataFrame) -> DataFrame:
    """One row per experiment × variant × assignment date: users assigned, exposed, and with each flag.

    Counts of flags are over validly assigned users, rates over `assigned` (null when 0). Two flags differ:
    `unassigned_exposure` counts users without a valid assignment at their first exposure's variant and date;
    `conflicted_assignment` counts canonical rows, its rate is over all canonical rows of that variant and date.
    `judged_*` count a user only for the first flag that applies; an exposure outside the window is judged only for a
    user without any valid exposure.
    """
    canonical = assignments.groupBy("experiment_id", "variant_id", F.to_date("assignment_time_utc").alias("date")).agg(
        F.count(F.lit(1)).alias("canonical_assignments"),
        F.count_if("is_conflicted").alias("conflicted_assignment_count"),
    )
    users = _daily_users(validation)
    counted = canonical.unionByName(users, allowMissingColumns=True)
    counts = [c for c in counted.columns if c not in KEYS]
    totals = counted.groupBy(*KEYS).agg(*(F.coalesce(F.sum(c), F.lit(0)).alias(c) for c in counts))
    return totals.select(
        *KEYS,
        "assigned",
        "exposed",
        "any_exposure",
        _rate("exposed", "assigned").alias("exposure_rate"),
        "canonical_assignments",
        *(column for flag in QUALITY_FLAGS for column in _count_and_rate(flag)),
        *(f"judged_{flag}" for flag in JUDGED_ONCE),
    )


def _daily_users(validation: DataFrame) -> DataFrame:
    """Counts of users by variant and date: those of a valid assignment, else those of the first exposure."""
    is_assigned = F.col("is_valid_assignment")
    at = F.when(is_assigned, F.col("assignment_time_utc")).otherwise(F.col("first_exposure_utc"))
    variant = F.when(is_assigned, F.col("variant_id")).otherwise(F.col("first_exposure_variant_id"))
    once = _judged_once()
    return (
        validation.where(is_assigned | F.col("unassigned_exposure"))
        .groupBy("experiment_id", variant.alias("variant_id"), F.to_date(at).alias("date"))
        .agg(
            F.count_if(is_assigned).alias("assigned"),
            F.count_if("is_valid_exposed").alias("exposed"),
            F.count_if(is_assigned & (F.col("n_exposures") > 0)).alias("any_exposure"),
            *(F.count_if(is_assigned & F.col(flag)).alias(f"{flag}_count") for flag in JUDGED_ONCE),
            F.count_if("unassigned_exposure").alias("unassigned_exposure_count"),
            *(F.count_if(is_assigned & (once == flag)).alias(f"judged_{flag}") for flag in JUDGED_ONCE),
        )
    )


def daily_outcome_volume(
    outcomes: DataFrame, sources: Sequence[str], *, start_ts: datetime, cutoff: datetime
) -> DataFrame:
    """One row per experiment × metric_name × date, from a week before start_ts on: number of outcome events."""
    first = start_ts.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=7)
    seen = (F.col("outcome_ts") >= F.lit(first)) & (F.col("outcome_ts") < F.lit(cutoff))
    return (
        outcomes.where(seen & F.col("metric_name").isin(*sources))
        # Whole days since 1970: dividing microseconds is cheaper than a date for every event.
        .groupBy("experiment_id", "metric_name", F.expr("unix_micros(outcome_ts) div 86400000000").alias("day"))
        .agg(F.count(F.lit(1)).alias("events"))
        .select("experiment_id", "metric_name", F.date_from_unix_date(F.col("day").cast("int")).alias("date"), "events")
    )


def _judged_once() -> Column:
    """The one flag for which the verdicts count a user, or null."""
    conditions = {flag: F.col(flag) for flag in JUDGED_ONCE}
    conditions["exposure_outside_window"] &= F.col("n_valid_exposures") == 0
    return first_reason(conditions)


def _count_and_rate(flag: str) -> tuple[Column, Column]:
    base = "canonical_assignments" if flag == "conflicted_assignment" else "assigned"
    return F.col(f"{flag}_count"), _rate(f"{flag}_count", base).alias(f"{flag}_rate")


def _rate(count: str, base: str) -> Column:
    """The rate count / base, null where base is 0."""
    return F.when(F.col(base) > 0, F.col(count) / F.col(base))
