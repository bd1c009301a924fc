"""A day ends at midnight UTC: on leap days, at the ends of months and years, and where clocks change elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from exp_platform.errors import ConfigError
from exp_platform.pipelines.dates import cutoff, latest_dt, parse_dt, past_dt

ZONES = ("UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati")


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The process's clock shows the time of a zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("day", "end"),
    [
        ("2024-02-28", "2024-02-29"),
        ("2024-02-29", "2024-03-01"),
        ("2026-02-28", "2026-03-01"),
        ("2026-12-31", "2027-01-01"),
        ("2026-03-29", "2026-03-30"),  # 23 hours long in Berlin
        ("2026-11-01", "2026-11-02"),  # 25 hours long in Los Angeles
    ],
)
def test_a_day_is_the_24_hours_of_utc(zone: str, day: str, end: str) -> None:
    assert cutoff(parse_dt(day)) == datetime.fromisoformat(end).replace(tzinfo=UTC)
    assert cutoff(parse_dt(day)) - cutoff(parse_dt(day) - timedelta(days=1)) == timedelta(hours=24), zone


@pytest.mark.parametrize(
    "instant", ["2024-02-29T00:00:00+00:00", "2024-02-28T16:00:00-08:00", "2024-02-29T14:00:00+14:00"]
)
def test_yesterday_is_that_of_utc_wherever_the_clock_hangs(zone: str, instant: str) -> None:
    assert latest_dt([], datetime.fromisoformat(instant)) == date(2024, 2, 28), zone


def test_a_day_that_has_begun_nowhere_but_in_the_east_is_refused(zone: str) -> None:
    now = datetime.fromisoformat("2027-01-01T13:59:59+14:00")  # a second before 2027 begins in UTC
    assert past_dt(date(2026, 12, 31), now) == date(2026, 12, 31)
    with pytest.raises(ConfigError, match="found 2027-01-01, which has not begun"):
        past_dt(date(2027, 1, 1), now)
    assert os.environ["TZ"] == zone


@pytest.mark.parametrize("text", ["2026-02-29", "2100-02-29", "2026-04-31", "2026-13-01", "0000-01-01"])
def test_a_day_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"found '{text}', expected a date"):
        parse_dt(text)
