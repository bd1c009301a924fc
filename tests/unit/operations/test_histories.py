"""The books' histories are shortened to a day; their rows and the current snapshot stay."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.ledger.claim import claim, current_claim
from exp_platform.operations.histories import BOOKS, shorten


def test_old_snapshots_of_the_books_are_dropped_and_nothing_else(project: Project) -> None:
    assert "ops.run_manifest" in BOOKS
    assert all(name.startswith("ops.") and name != "ops.quarantine" for name in BOOKS)
    for run in ("run_1", "run_2", "run_3"):
        claim(project, "exp_a", run, date(2026, 1, 1), "test")
    before = len(load_handle(project, "ops.run_claim").metadata.snapshots)
    now = datetime.now(UTC)
    assert shorten(project, now, log=lambda _: None) == 0  # all of them are younger than a day
    assert shorten(project, now + timedelta(days=2), log=lambda _: None) >= before - 1
    assert len(load_handle(project, "ops.run_claim").metadata.snapshots) == 1
    held = current_claim(project, "exp_a")
    assert held is not None
    assert held.run_id == "run_3"
