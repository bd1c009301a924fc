"""Shorten the histories of the platform's own books: a commit costs time for each snapshot that its table has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from exp_platform.config.load import Project
from exp_platform.lake.catalog import commit_again, ensure_tables
from exp_platform.lake.tables import TABLES

KEEP = timedelta(days=1)  # a stage that is at work holds on to the snapshot at which it began
BOOKS = tuple(name for name, table in TABLES.items() if name.startswith("ops.") and table.engine == "pyiceberg")


def shorten(project: Project, now: datetime, log: Callable[[str], None] = print) -> int:
    """Drop snapshots of the books that are older than a day, the current one excepted; return their number.

    The books are read as they are now and never as they were, so that no run needs an older state. Only the history
    is shortened here; the weekly removal of orphan files deletes the files that nobody holds any more.
    """
    before, dropped = now - KEEP, 0
    for name, handle in ensure_tables(project, names=BOOKS).items():
        limit = int(before.timestamp() * 1000)
        held = {ref.snapshot_id for ref in handle.metadata.refs.values()}
        old = [s.snapshot_id for s in handle.metadata.snapshots if s.timestamp_ms < limit and s.snapshot_id not in held]
        if old:
            commit_again(handle, lambda table, ids=old: table.maintenance.expire_snapshots().by_ids(ids).commit())  # type: ignore[misc]
            log(f"{name}: dropped {len(old):,} of {len(handle.metadata.snapshots) + len(old):,} snapshots")
        dropped += len(old)
    return dropped
