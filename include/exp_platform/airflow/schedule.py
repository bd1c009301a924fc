"""The schedule: the day of a scheduled run, and the experiments that are due on it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from exp_platform.config.models import Experiment, Metric


def day_of_firing(firing: datetime) -> date:
    """The as-of date of a run that fires at this instant: the last whole UTC day before it."""
    return firing.astimezone(UTC).date() - timedelta(days=1)


def last_instant(experiment: Experiment, metrics: Iterable[Metric]) -> datetime:
    """The instant at which the longest attribution window of the last possible user closes."""
    hours = [
        float(metric.window.end_hours)
        for metric in metrics
        if metric.window.end_hours != "experiment" and not metric.window.truncate_at_end
    ]
    return experiment.end_ts + timedelta(hours=max(hours, default=0.0))


def is_due(experiment: Experiment, metrics: Iterable[Metric], dt: date) -> bool:
    """True when the experiment is no draft and the day overlaps [start, end + longest metric window)."""
    day_start = datetime.combine(dt, time(), UTC)
    day_end = day_start + timedelta(days=1)
    return (
        experiment.status != "draft" and experiment.start_ts < day_end and day_start < last_instant(experiment, metrics)
    )
