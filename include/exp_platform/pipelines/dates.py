"""The as-of date `dt` of a run: how it is parsed, chosen and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from exp_platform.config.models import Experiment, Metric, Scenario
from exp_platform.errors import ConfigError

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_dt(text: str) -> date:
    """Parse YYYY-MM-DD and nothing else; `date.fromisoformat` would also take 20260201 and 2026-W05-7."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"dt: found {text!r}, expected a date as YYYY-MM-DD, for example 2026-02-01") from None


def latest_dt(days: Iterable[date], now: datetime) -> date:
    """The earlier of yesterday (UTC) and the last day with raw data."""
    yesterday = now.astimezone(UTC).date() - timedelta(days=1)
    return min(yesterday, max(days, default=yesterday))


def past_dt(dt: date, now: datetime) -> date:
    """Return `dt` when that day has begun; a dt in the future would make every daily run before it a backfill."""
    today = now.astimezone(UTC).date()
    if dt > today:
        raise ConfigError(f"dt: found {dt}, which has not begun (today is {today} UTC); give a day up to today")
    return dt


def cutoff(dt: date) -> datetime:
    """The instant before which a run sees events: dt + 1 day, 00:00 UTC."""
    return datetime(dt.year, dt.month, dt.day, tzinfo=UTC) + timedelta(days=1)


def last_synthetic_day(experiment: Experiment, scenario: Scenario, metrics: tuple[Metric, ...]) -> date:
    """The last whole day on which the generator places outcomes, those of the last assigned users."""
    from exp_platform.synth.plan import Plan

    plan = Plan(experiment, scenario, metrics)
    return (experiment.start_ts + timedelta(days=scenario.days + 7 * plan.weeks_after - 1)).date()
