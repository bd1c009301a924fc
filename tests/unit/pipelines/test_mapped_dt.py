"""A dt that is left out follows the events of mapped sources."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from exp_platform.config.load import Project
from exp_platform.ingest import last_day
from exp_platform.pipelines.job import dt_of_run

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
ID = "exp_checkout_button_001"


@pytest.mark.parametrize(
    ("last", "chosen"),
    [(date(2026, 2, 5), date(2026, 2, 5)), (date(2026, 5, 31), date(2026, 5, 31)), (None, date(2026, 5, 31))],
)
def test_dt_is_the_last_event_day_of_mapped_sources_and_at_most_yesterday(
    project: Project, monkeypatch: pytest.MonkeyPatch, last: date | None, chosen: date
) -> None:
    asked: list[datetime] = []
    monkeypatch.setattr(last_day, "last_mapped_day", lambda _, __, before: asked.append(before) or last)
    assert dt_of_run(project, ID, None, NOW) == chosen
    assert asked == [datetime(2026, 6, 1, tzinfo=UTC)]  # events of today and later count for nothing


def test_an_experiment_without_mapped_sources_starts_no_spark(project: Project) -> None:
    assert last_day.last_mapped_day(project, project.experiments[ID], NOW) is None
