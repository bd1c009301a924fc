"""The state of a stream, from the rows that its runs have left in the manifest."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from exp_platform.pipelines.stream_gate import state_of


def row(run: int, dt: int, status: str = "ok", table: str = "exp.stream_outcomes") -> dict[str, Any]:
    return {
        "run_id": f"r{run}",
        "dt": date(2026, 2, dt),
        "status": status,
        "table": table,
        "error": None if status == "ok" else f"error of run {run}",
        "at": datetime(2026, 2, 10, run, tzinfo=UTC),
    }


def test_a_stream_that_no_run_has_ingested_may_not_be_read() -> None:
    assert "was never ingested" in (state_of("shop_events", []).problem or "")


def test_a_sound_run_makes_a_stream_readable() -> None:
    state = state_of("shop_events", [row(1, 3)])
    assert (state.problem, state.last_dt) == (None, date(2026, 2, 3))


def test_a_blocked_stream_tells_the_first_day_of_the_trouble_and_its_latest_error() -> None:
    state = state_of("shop_events", [row(1, 3), row(3, 5, "blocked", "*"), row(2, 4, "blocked", "*")])
    assert state.problem == "stream shop_events is blocked since dt 2026-02-04: error of run 3"
    assert state.last_dt == date(2026, 2, 3)


def test_a_mended_stream_is_readable_again() -> None:
    assert state_of("shop_events", [row(1, 3, "blocked", "*"), row(2, 4)]).problem is None


def test_a_crash_does_not_block_and_does_not_count_as_ingested() -> None:
    state = state_of("shop_events", [row(1, 3), row(2, 4, "failed", "*")])
    assert (state.problem, state.last_dt) == (None, date(2026, 2, 3))


def test_a_backfill_does_not_make_a_stream_older() -> None:
    assert state_of("shop_events", [row(1, 5), row(2, 3)]).last_dt == date(2026, 2, 5)
