"""J2: which exposure events are valid, and a summary of each user's exposures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.transforms.excluded import lies_on
from exp_platform.transforms.first_reason import first_reason

USER = ["experiment_id", "user_id"]
MICROS_PER_HOUR = 3_600_000_000
EXCLUDED_DATE = "excluded_date"  # the reason of an event on a day that can't be used


def judge_exposures(
    exposures: DataFrame,
    assignments: DataFrame,
    *,
    start_ts: datetime,
    end_ts: datetime,
    cutoff: datetime,
    exposure_window_hours: int | None,
    excluded: Sequence[date] = (),
) -> DataFrame:
    """One row per distinct exposure event, compared with its user's canonical assignment.

    `exposures` are distinct events (exp.exposures), `assignments` is silver.fact_assignment_canonical; events at or
    after `cutoff` (dt + 1 day) are not seen. `exposure_events` and `validate_users` make J2's tables from this frame.
    A comparison with an assignment that does not exist is false. An event on an `excluded` date is not compared with
    anything: all of its flags are false, and its reason is `excluded_date`.
    """
    seen = exposures.where(F.col("exposure_ts") < F.lit(cutoff))
    assigned = assignments.select(*USER, "variant_id", "assignment_time_utc", "is_valid")

    time, assigned_time = F.col("exposure_ts"), F.col("assignment_time_utc")
    has_valid_assignment = F.coalesce(F.col("is_valid"), F.lit(False))
    is_mismatch = F.coalesce(F.col("variant") != F.col("variant_id"), F.lit(False))
    is_pre_assignment = F.coalesce(time < assigned_time, F.lit(False))
    is_outside_experiment = (time < F.lit(start_ts)) | (time >= F.lit(end_ts))
    is_late = _is_late(exposure_window_hours)
    conditions = {EXCLUDED_DATE: lies_on(time, excluded)} if excluded else {}
    reason = first_reason(
        conditions
        | {
            "no_valid_assignment": ~has_valid_assignment,
            "variant_mismatch": is_mismatch,
            "pre_assignment": is_pre_assignment,
            "outside_experiment": is_outside_experiment,
            "outside_exposure_window": is_late,
        }
    )
    return seen.join(assigned, USER, "left").select(
        *USER,
        F.col("variant").alias("variant_id"),
        time.alias("exposure_time_utc"),
        "unit",
        reason.isNull().alias("is_valid"),
        reason.alias("invalid_reason"),
        *(
            (flag & ~conditions[EXCLUDED_DATE] if excluded else flag).alias(name)
            for name, flag in (
                ("is_pre_assignment", is_pre_assignment),
                ("is_mismatch", is_mismatch),
                ("is_outside_window", is_outside_experiment | is_late),
            )
        ),
        F.col("event_id") if "event_id" in exposures.columns else F.lit(None).cast("string").alias("event_id"),
    )


def exposure_events(judged: DataFrame) -> DataFrame:
    """silver.fact_exposure: one row per distinct exposure event, with the first reason why it is invalid.

    `variant_id` is the variant that the event shows, which need not be the assigned one.
    """
    return judged.select(*USER, "variant_id", "exposure_time_utc", "unit", "event_id", "is_valid", "invalid_reason")


def validate_users(judged: DataFrame, assignments: DataFrame) -> DataFrame:
    """silver.int_experiment_exposure_validation: one row per experiment × user with any assignment or exposure.

    Flags are over all of the user's exposures, valid or not, but those of excluded dates. `variant_id` and
    `assignment_time_utc` are the canonical assignment's, valid or not, and null where there is none. The first exposure
    is the earliest event, at equal times that of the smallest variant.
    """
    seen_variant = F.when(~F.col("invalid_reason").eqNullSafe(EXCLUDED_DATE), F.col("variant_id"))
    exposed = judged.groupBy(*USER).agg(
        F.count(F.lit(1)).alias("n_exposures"),
        F.count_if("is_valid").alias("n_valid_exposures"),
        F.min(F.struct("exposure_time_utc", "variant_id")).alias("first_exposure"),
        F.min(F.when(F.col("is_valid"), F.col("exposure_time_utc"))).alias("first_valid_exposure_utc"),
        F.bool_or("is_pre_assignment").alias("pre_assignment_exposure"),
        F.bool_or("is_mismatch").alias("variant_mismatch"),
        (F.min(seen_variant) != F.max(seen_variant)).alias("multi_variation_exposure"),
        F.bool_or("is_outside_window").alias("exposure_outside_window"),
    )
    assigned = assignments.select(*USER, "variant_id", "assignment_time_utc", "is_valid")
    # The events are grouped before this join: a full join loses the partitioning of its rows, so grouping after it
    # would shuffle every event again.
    users = exposed.join(assigned, USER, "full")
    is_valid_assignment = F.coalesce(F.col("is_valid"), F.lit(False))
    n_exposures = F.coalesce(F.col("n_exposures"), F.lit(0))
    n_valid_exposures = F.coalesce(F.col("n_valid_exposures"), F.lit(0))
    is_multi = _or_false("multi_variation_exposure")
    return users.select(
        *USER,
        "variant_id",
        "assignment_time_utc",
        n_exposures.alias("n_exposures"),
        n_valid_exposures.alias("n_valid_exposures"),
        F.col("first_exposure.exposure_time_utc").alias("first_exposure_utc"),
        F.col("first_exposure.variant_id").alias("first_exposure_variant_id"),
        "first_valid_exposure_utc",
        is_valid_assignment.alias("is_valid_assignment"),
        _or_false("pre_assignment_exposure").alias("pre_assignment_exposure"),
        _or_false("variant_mismatch").alias("variant_mismatch"),
        is_multi.alias("multi_variation_exposure"),
        _or_false("exposure_outside_window").alias("exposure_outside_window"),
        ((n_exposures > 0) & ~is_valid_assignment).alias("unassigned_exposure"),
        ((n_valid_exposures > 0) & ~is_multi).alias("is_valid_exposed"),
    )


def _or_false(flag: str) -> Column:
    """A flag of the exposures; false for a user without exposures."""
    return F.coalesce(F.col(flag), F.lit(False))


def _is_late(exposure_window_hours: int | None) -> Column:
    """True at or after the end of the user's exposure window.

    Compared in microseconds, because adding an interval looks up the time zone for every row.
    """
    if exposure_window_hours is None:
        return F.lit(False)
    since_assignment = F.unix_micros("exposure_time_utc") - F.unix_micros("assignment_time_utc")
    return F.coalesce(since_assignment >= F.lit(exposure_window_hours * MICROS_PER_HOUR), F.lit(False))
