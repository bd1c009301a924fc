"""The as-of date `dt` of a run: how it is parsed, chosen and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from exp_platform.config.load import Project
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


def default_dt(project: Project, experiment_id: str, now: datetime, generate_synth: bool = False) -> date:
    """The as-of date of a run that is given none: the earlier of yesterday and the last event day of the experiment.

    Events of the generator end on the last whole day that it fills, whether they are there already or are generated
    by this run: a single late refund after that day would make it a day on which nearly everything is missing. For
    mapped sources the last event before today counts, so that an event of the far future moves nothing.
    """
    experiment = project.experiment(experiment_id)
    scenario = project.scenario(experiment_id) if generate_synth else _generated_scenario(project, experiment_id)
    if scenario is not None:
        return latest_dt([last_synthetic_day(experiment, scenario, project.metrics_of(experiment))], now)
    from exp_platform.ingest.last_day import last_mapped_day
    from exp_platform.lake.raw_zone import list_days

    mapped = last_mapped_day(project, experiment, cutoff(latest_dt([], now)))
    return latest_dt([*list_days(project, experiment_id), *([mapped] if mapped else [])], now)


def _generated_scenario(project: Project, experiment_id: str) -> Scenario | None:
    """The scenario of which the generator has filled the raw folder; None where it has not, as with all real events."""
    if not project.profile.synthetic:
        return None
    from exp_platform.synth.folder import Folder
    from exp_platform.synth.generate import MARKER

    marker = Folder.of_experiment(project, experiment_id).read_json(MARKER)
    return Scenario.model_validate(marker["scenario"]) if marker else None


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
    from exp_platform.synth.generation import SynthPlan

    plan = SynthPlan(experiment, scenario, metrics)
    return (experiment.start_ts + timedelta(days=scenario.days + 7 * plan.weeks_after - 1)).date()
