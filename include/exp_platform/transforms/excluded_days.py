"""J5: the number of users that each entry of `exclude` takes out of the cohort, or of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Exclusion, Experiment, Metric
from exp_platform.metrics.values import post_period
from exp_platform.sums.group_sums import ALL
from exp_platform.transforms.excluded import exposure_unknown, lies_on, touches
from exp_platform.transforms.unit_partials import unit_windows


def excluded_days(
    validation: DataFrame, cohort: DataFrame, experiment: Experiment, metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Rows of gold.fct_experiment_excluded_days: one per entry, for outcomes one per entry × metric.

    An entry counts by itself: a user whom two entries take out is counted by both.
    """
    entries = list(enumerate(experiment.exclude, start=1))
    of_users = [(i, one) for i, one in entries if one.what != "outcomes"]
    of_metrics = [(i, one, metric) for i, one in entries if one.what == "outcomes" for metric in metrics]
    assigned = validation.where("is_valid_assignment")
    rows = [
        _row(experiment, i, one, ALL, *counts)
        for (i, one), counts in zip(
            of_users, _counts(assigned, [_leaves(one, experiment) for _, one in of_users]), strict=True
        )
    ]
    windows = [touches(post_period(metric, experiment.end_ts), one.dates) for _, one, metric in of_metrics]
    rows += [
        _row(experiment, i, one, metric.name, *counts)
        for (i, one, metric), counts in zip(of_metrics, _counts(unit_windows(cohort), windows), strict=True)
    ]
    return sorted(rows, key=lambda row: (row["entry"], row["metric_name"]))


def _leaves(one: Exclusion, experiment: Experiment) -> Column:
    if one.what == "assignments":
        return lies_on(F.col("assignment_time_utc"), one.dates)
    return exposure_unknown(one.dates, end_ts=experiment.end_ts, exposure_window_hours=experiment.exposure_window_hours)


def _counts(users: DataFrame, conditions: Sequence[Column]) -> list[tuple[int, int]]:
    """For each condition the number of users for which it holds, and the number of all."""
    if not conditions:
        return []
    counts = [F.count_if(condition).alias(f"n{i}") for i, condition in enumerate(conditions)]
    row = users.agg(F.count(F.lit(1)).alias("n"), *counts).collect()[0]
    return [(row[f"n{i}"], row["n"]) for i in range(len(conditions))]


def _row(experiment: Experiment, i: int, one: Exclusion, metric: str, users: int, of_users: int) -> dict[str, Any]:
    return {
        "experiment_id": experiment.experiment_id,
        "entry": i,
        "what": one.what,
        "dates": [day.isoformat() for day in one.dates],
        "reason": one.reason,
        "decided_by": one.by,
        "metric_name": metric,
        "users": users,
        "of_users": of_users,
    }
