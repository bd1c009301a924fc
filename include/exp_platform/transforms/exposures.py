"""J2: which exposure events count, and what the exposures of each user look like."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.transforms.reasons import first_reason

USER = ["experiment_id", "user_id"]
MICROS_PER_HOUR = 3_600_000_000


def judge_exposures(
    exposures: DataFrame,
    assignments: DataFrame,
    *,
    start_ts: datetime,
    end_ts: datetime,
    cutoff: datetime,
    exposure_window_hours: int | None,
) -> DataFrame:
    """One row per distinct exposure event, or per assigned user without any: the event beside its user's assignment.

    `exposures` are distinct events (exp.exposures), `assignments` is silver.fact_assignment_canonical; events at or
    after `cutoff` (dt + 1 day) are not seen. Both outputs of J2 are read off this frame: `exposure_events` and
    `validate_users`. A comparison with an assignment that does not exist is false.
    """
    seen = exposures.where(F.col("exposure_ts") < F.lit(cutoff)).select(
        *USER, F.col("variant").alias("exposed_variant"), F.col("exposure_ts").alias("exposure_time_utc"), "unit"
    )
    assigned = assignments.select(
        *USER, "variant_id", "assignment_time_utc", F.col("is_valid").alias("valid_assignment")
    )
    judged = assigned.join(seen, USER, "full")

    time, assigned_time = F.col("exposure_time_utc"), F.col("assignment_time_utc")
    is_exposure = time.isNotNull()
    has_valid_assignment = F.coalesce(F.col("valid_assignment"), F.lit(False))
    is_mismatch = F.coalesce(F.col("exposed_variant") != F.col("variant_id"), F.lit(False))
    is_pre_assignment = F.coalesce(time < assigned_time, F.lit(False))
    is_outside_experiment = F.coalesce((time < F.lit(start_ts)) | (time >= F.lit(end_ts)), F.lit(False))
    reason = first_reason(
        {
            "no_valid_assignment": ~has_valid_assignment,
            "variant_mismatch": is_mismatch,
            "pre_assignment": is_pre_assignment,
            "outside_experiment": is_outside_experiment,
            "outside_exposure_window": _is_late(exposure_window_hours),
        }
    )
    return judged.select(
        *USER,
        "variant_id",
        "assignment_time_utc",
        has_valid_assignment.alias("is_valid_assignment"),
        "exposed_variant",
        "exposure_time_utc",
        "unit",
        is_exposure.alias("is_exposure"),
        (is_exposure & reason.isNull()).alias("is_valid"),
        F.when(is_exposure, reason).alias("invalid_reason"),
        is_pre_assignment.alias("is_pre_assignment"),
        is_mismatch.alias("is_mismatch"),
        (is_outside_experiment | _is_late(exposure_window_hours)).alias("is_outside_window"),
    )


def exposure_events(judged: DataFrame) -> DataFrame:
    """silver.fact_exposure: one row per distinct exposure event, with the first reason why it does not count.

    `variant_id` is the variant that the event shows, which need not be the assigned one.
    """
    return judged.where("is_exposure").select(
        *USER,
        F.col("exposed_variant").alias("variant_id"),
        "exposure_time_utc",
        "unit",
        "is_valid",
        "invalid_reason",
    )


def validate_users(judged: DataFrame) -> DataFrame:
    """silver.int_experiment_exposure_validation: one row per experiment × user with any assignment or exposure.

    Flags look at all of the user's exposures, whether they count or not. `variant_id` and `assignment_time_utc` are the
    canonical assignment's, valid or not, and null where there is none; the first exposure is the earliest event, at
    equal times the one with the smallest variant.
    """
    first = F.min(F.when(F.col("is_exposure"), F.struct("exposure_time_utc", "exposed_variant")))
    users = judged.groupBy(*USER).agg(
        F.first("variant_id").alias("variant_id"),  # the same in every row of the user
        F.first("assignment_time_utc").alias("assignment_time_utc"),
        F.first("is_valid_assignment").alias("is_valid_assignment"),
        F.count_if("is_exposure").alias("n_exposures"),
        F.count_if("is_valid").alias("n_valid_exposures"),
        first.alias("first_exposure"),
        F.min(F.when(F.col("is_valid"), F.col("exposure_time_utc"))).alias("first_valid_exposure_utc"),
        F.bool_or("is_pre_assignment").alias("pre_assignment_exposure"),
        F.bool_or("is_mismatch").alias("variant_mismatch"),
        F.coalesce(F.min("exposed_variant") != F.max("exposed_variant"), F.lit(False)).alias(
            "multi_variation_exposure"
        ),
        F.bool_or("is_outside_window").alias("exposure_outside_window"),
    )
    is_unassigned = (F.col("n_exposures") > 0) & ~F.col("is_valid_assignment")
    is_valid_exposed = (F.col("n_valid_exposures") > 0) & ~F.col("multi_variation_exposure")
    return users.select(
        *USER,
        "variant_id",
        "assignment_time_utc",
        "n_exposures",
        "n_valid_exposures",
        F.col("first_exposure.exposure_time_utc").alias("first_exposure_utc"),
        F.col("first_exposure.exposed_variant").alias("first_exposure_variant_id"),
        "first_valid_exposure_utc",
        "is_valid_assignment",
        "pre_assignment_exposure",
        "variant_mismatch",
        "multi_variation_exposure",
        "exposure_outside_window",
        is_unassigned.alias("unassigned_exposure"),
        is_valid_exposed.alias("is_valid_exposed"),
    )


def _is_late(exposure_window_hours: int | None) -> Column:
    """At or after the end of the user's exposure window, in microseconds: intervals cost a time-zone look-up a row."""
    if exposure_window_hours is None:
        return F.lit(False)
    since_assignment = F.unix_micros("exposure_time_utc") - F.unix_micros("assignment_time_utc")
    return F.coalesce(since_assignment >= F.lit(exposure_window_hours * MICROS_PER_HOUR), F.lit(False))
