"""A table that depends on the day only through the events seen is kept until there is another one, and not longer."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from tests.lakes import CANONICAL, DT, EVENTS, ONE, TWO, Lake
from tests.stages import opened

from exp_platform.lake.ops import read_rows
from exp_platform.lake.publication import Origin, fence_of
from exp_platform.lake.row_audit import Finding, Scope
from exp_platform.lake.staging import commit_staged, discard, stage
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.claim import claim
from exp_platform.ledger.manifest import run_rows
from exp_platform.pipelines.stages import build_assignments

pytestmark = pytest.mark.spark

DAY = timedelta(days=1)


def run(lake: Lake, dt: date, run_id: str, audit: Any = None, **options: Any) -> tuple[list[dict[str, Any]], str]:
    """J1: the rows that later stages of the run read, and its log."""
    lines: list[str] = []
    project = lake.project
    claim(project, ONE, run_id, dt, "test")
    with opened(
        project, ONE, dt, run_id, "build_assignments", spark=lake.spark, audit=audit, log=lines.append, options=options
    ) as ctx:
        build_assignments.run(ctx)
        rows = ctx.read.arrow(CANONICAL).to_pylist()
    return sorted(rows, key=lambda row: row["user_id"]), "\n".join(lines)


def land(lake: Lake, users: range, at: str, experiment: str = ONE) -> None:
    """Append assignment events of some users at an instant."""
    frame = lake.events(experiment, users.start, users.stop).selectExpr(
        "* except (assignment_ts)", f"timestamp'{at}' as assignment_ts"
    )
    handle = lake.handle(EVENTS)
    staged = stage(frame, TABLES[EVENTS], Scope(experiment, DT), handle, fence_of(handle, "main"))
    try:
        commit_staged(staged, "append", Origin("land", "ingest_events", DT, "config", "code").summary())
    finally:
        discard(staged)


def test_a_table_is_kept_until_its_day_sees_another_event(lake: Lake) -> None:
    first = DT

    def day(n: int, run_id: str, *, kept: bool, users: int, **options: Any) -> str:
        """The run's log; whether the table was kept, and how many rows it has."""
        rows, said = run(lake, first + n * DAY, run_id, **options)
        assert ("reused" in said) == kept, said
        assert ("wrote" in said) == (not kept), said
        assert len(rows) == users
        return said

    land(lake, range(5), "2026-01-05 10:00:00")
    day(0, "first", kept=False, users=5)
    assert f"of {CANONICAL} as of {first} (run first)" in day(1, "nothing new", kept=True, users=5)
    (row,) = [r for r in run_rows(lake.project, ONE, "nothing new") if r["role"] == "published"]
    assert (row["table"], row["rows"], row["status"]) == (CANONICAL, 5, "ok")
    (audited,) = read_rows(lake.handle("ops.contract_results"), {"run_id": "nothing new"})
    why = f"this run sees no event that dt {first} did not see"
    assert audited["expectation"] == f"audited when run first published it ({why})"

    land(lake, range(9), "2026-01-05 10:00:00", TWO)
    lake.publish(CANONICAL, lake.canonical(TWO, 9), TWO, run_id="other")
    day(2, "another experiment's events", kept=True, users=5)

    land(lake, range(5, 6), "2026-02-10 10:00:00")
    day(3, "an event that this day does not see", kept=True, users=5)
    assert "reused" not in day(9, "the day that sees it", kept=False, users=6)
    day(9, "the same day again, from the same inputs", kept=True, users=6)

    land(lake, range(6, 8), "2026-01-06 10:00:00")
    day(10, "a late event", kept=False, users=8)
    day(11, "full refresh", kept=False, users=8, full_refresh=True)
    day(4, "a day that has passed", kept=False, users=7)

    lake.publish(EVENTS, lake.events(ONE, 0, 3), ONE, run_id="restated")
    day(12, "restated", kept=False, users=3)
    rows, _ = run(lake, first + 13 * DAY, "after all")
    whole, _ = run(lake, first + 13 * DAY, "after all, whole", full_refresh=True)
    assert rows == whole


def test_what_the_audit_of_kept_rows_warned_of_is_said_by_every_run_that_shows_them(lake: Lake) -> None:
    first = DT + 30 * DAY
    odd = Finding("the rows are odd", False, "warning", 2, 40.0, ("user_id=1",), "two of five")
    land(lake, range(50, 55), "2026-03-01 10:00:00")

    def found(dt: date, run_id: str) -> tuple[str, list[tuple[Any, ...]]]:
        _, said = run(lake, dt, run_id, audit=lambda *_: [odd, Finding("the rows are there", True)])
        rows = read_rows(lake.handle("ops.contract_results"), {"run_id": run_id, "table": CANONICAL})
        columns = ("expectation", "severity", "unexpected_count", "unexpected_percent", "sample", "detail")
        return said, sorted(tuple(row[c] for c in columns) for row in rows if not row["success"])

    warned = [(odd.expectation, "warning", 2, 40.0, ["user_id=1"], "two of five")]
    said, publishing = found(first, "the run that publishes")
    assert "wrote" in said and publishing == warned
    said, again = found(first, "the run that publishes")
    assert "reused" in said and again == warned, "another attempt of the same run"
    audited = read_rows(lake.handle("ops.contract_results"), {"run_id": "the run that publishes", "success": True})
    assert "the rows are there" in {row["expectation"] for row in audited}
    for n in (1, 2):
        said, later = found(first + n * DAY, f"kept on day {n}")
        assert "reused" in said and later == warned
