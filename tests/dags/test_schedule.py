"""Which day a scheduled run is about, and which experiments are due on it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from exp_platform.airflow.schedule import day_of_firing, is_due, last_instant
from exp_platform.config.load import load_project
from exp_platform.config.models import Experiment, Metric

DEV = Path(__file__).resolve().parents[2] / "configs" / "dev.yaml"


@pytest.mark.parametrize(
    ("firing", "dt"),
    [
        (datetime(2026, 2, 2, tzinfo=UTC), date(2026, 2, 1)),
        (datetime(2026, 2, 2, 23, 59, tzinfo=UTC), date(2026, 2, 1)),
        (datetime(2026, 3, 1, tzinfo=UTC), date(2026, 2, 28)),
        (datetime(2026, 2, 2, 1, 0, tzinfo=timezone(timedelta(hours=2))), date(2026, 1, 31)),
    ],
)
def test_the_day_of_a_run_is_the_last_whole_utc_day_before_it_fires(firing: datetime, dt: date) -> None:
    assert day_of_firing(firing) == dt


@pytest.fixture
def experiment() -> Experiment:
    project = load_project(DEV)
    return project.experiment("exp_checkout_button_001").model_copy(
        update={"start_ts": datetime(2026, 2, 1, 12, tzinfo=UTC), "end_ts": datetime(2026, 2, 10, tzinfo=UTC)}
    )


def metric(**window: object) -> Metric:
    project = load_project(DEV)
    base = project.metrics["revenue"]
    return base.model_copy(update={"window": base.window.model_copy(update=window)})


def test_an_experiment_is_due_from_the_day_it_starts_until_its_longest_window_has_closed(
    experiment: Experiment,
) -> None:
    windows = [metric(end_hours=24), metric(end_hours=72)]
    due = [day for day in range(1, 20) if is_due(experiment, windows, date(2026, 2, day))]
    assert due == list(range(1, 13))
    assert not is_due(experiment, windows, date(2026, 1, 31))


def test_windows_that_end_with_the_experiment_do_not_prolong_it(experiment: Experiment) -> None:
    windows = [metric(end_hours="experiment"), metric(end_hours=500, truncate_at_end=True)]
    assert last_instant(experiment, windows) == experiment.end_ts


def test_a_draft_is_never_due_and_a_stopped_experiment_still_matures(experiment: Experiment) -> None:
    day = date(2026, 2, 5)
    assert not is_due(experiment.model_copy(update={"status": "draft"}), [], day)
    assert is_due(experiment.model_copy(update={"status": "stopped"}), [], day)
