"""Write, audit, publish: a result becomes visible only after its audit, atomically, for its experiment alone.

There are two ways to write a table of an experiment, one for each writing engine: PyIceberg overwrites small Arrow
tables; Spark's rows are written where nobody reads them (`staging`), audited from their files, and then moved.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import FencedConflict
from exp_platform.lake.arrow_files import Finish, finished
from exp_platform.lake.audit import (
    Audit,
    AuditRefused,
    Finding,
    Part,
    Scope,
    audit_arrow,
    audit_spark,
    audit_staged,
    conform_arrow,
    conform_spark,
    refuse,
)
from exp_platform.lake.engines import ensure_branch, overwrite_arrow
from exp_platform.lake.publication import BACKFILL_BRANCH_DAYS, MAIN, Origin, Published, fence_of
from exp_platform.lake.staging import Mode, StagedBatch, commit_staged, discard, is_null_refused, laid_out, stage
from exp_platform.lake.tables import Table
from exp_platform.lake.types import to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.lake.staging import Staged

Rows = Any  # a DataFrame, pa.Table or list of dictionaries, as the table's engine takes them


@dataclass(frozen=True)
class Publication:
    """One publication but for its rows. The handle was loaded at the stage's start and is the fence."""

    table: Table
    scope: Scope
    origin: Origin
    handle: IcebergTable
    audit: Audit | None = None
    branch: str = MAIN
    notes: Mapping[str, Any] = field(default_factory=dict)  # stay with the snapshot, for a run that builds on the rows
    before_commit: Callable[[], None] = lambda: None
    fence: int | None = None  # the snapshot that the stage started from; the handle's own where it is left out

    def summary(self) -> dict[str, str]:
        """Properties of the snapshot."""
        return self.origin.summary() | {"notes": json.dumps(self.notes)}


def publish(wanted: Publication, rows: Rows, *, finish: Finish | None = None, part: Part | None = None) -> Published:
    """Audit rows, then replace the scope's rows in one fenced commit.

    A commit by somebody else to the same scope since the stage's start ends in FencedConflict. A refused audit raises
    AuditRefused and leaves nothing visible. For a table that Spark writes, `finish` makes the table's rows from the
    frame's where they are written; with a part only its rows are replaced, and audited beside those that stay.
    """
    is_frame = not isinstance(rows, (pa.Table, list))
    if is_frame != (wanted.table.engine == "spark"):
        raise TypeError(f"{wanted.table.name} is written by {wanted.table.engine}: found {type(rows).__name__}")
    return _publish_frame(wanted, rows, finish, part) if is_frame else _publish_arrow(wanted, rows)


def audited(batch: Staged, mode: Mode, audit: Audit | None, *, grain_is_proven: bool) -> list[Finding]:
    """Findings on staged rows, read back from their files; raises AuditRefused when one of them blocks."""
    whole = batch.beside_what_stays()
    _, findings = audit_staged(
        batch.frame(), batch.table, batch.scope, batch.broken_inside, whole=None if grain_is_proven else whole
    )
    # An append that adds nothing is no table without rows.
    if audit and (batch.rows or mode == "overwrite") and not any(finding.blocks for finding in findings):
        findings += audit(whole, batch.table, batch.part)
    refuse(batch.table, findings)
    return findings


@contextmanager
def nulls_explained(table: Table, scope: Scope, frame: DataFrame) -> Iterator[None]:
    """A writer stops at the first null in a required column; the audit of the frame says which rows have one."""
    try:
        yield
    except AuditRefused:
        raise
    except Exception as error:
        if is_null_refused(error):
            _, findings = audit_spark(conform_spark(frame, table), table, scope)
            refuse(table, findings)
        raise


def _publish_frame(wanted: Publication, frame: DataFrame, finish: Finish | None, part: Part | None) -> Published:
    table, scope = wanted.table, wanted.scope
    fence = fence_of(wanted.handle, wanted.branch) if wanted.fence is None else wanted.fence
    with nulls_explained(table, scope, finished(frame, table, finish) if finish else frame):
        staged = stage(laid_out(frame, table), table, scope, wanted.handle, fence, finish=finish, part=part)
    try:
        findings = audited(staged, "overwrite", wanted.audit, grain_is_proven=False)
        wanted.before_commit()
        done = commit_staged(StagedBatch(staged, "overwrite", wanted.summary()), wanted.branch)
    finally:
        discard(staged)
    return Published(done.snapshot_id, done.rows, findings=tuple(findings))


def _publish_arrow(wanted: Publication, rows: pa.Table | list[dict[str, Any]]) -> Published:
    table, scope, handle = wanted.table, wanted.scope, wanted.handle
    frame = conform_arrow(to_arrow(table, rows) if isinstance(rows, list) else rows, table)
    count, findings = audit_arrow(frame, table, scope)
    # The suite runs only on rows that are sound in themselves: its messages would else repeat one fault.
    if wanted.audit is not None and not any(finding.blocks for finding in findings):
        findings += wanted.audit(frame, table, None)
    refuse(table, findings)
    if wanted.branch != MAIN:
        ensure_branch(handle, fence_of(handle, wanted.branch), wanted.branch, BACKFILL_BRANCH_DAYS)
    wanted.before_commit()
    publish_id = uuid.uuid4().hex
    about = {"experiment_id": scope.experiment_id, "rows": str(count), "mode": "overwrite", "publish_id": publish_id}
    overwrite_arrow(handle, frame, table, scope, wanted.branch, wanted.summary() | about)
    return _landed(wanted, publish_id, count, findings)


def _landed(wanted: Publication, publish_id: str, rows: int, findings: Sequence[Finding]) -> Published:
    """The last snapshot of this publication: PyIceberg writes two, one that removes and one that adds."""
    ours = [
        snapshot
        for snapshot in wanted.handle.metadata.snapshots
        if snapshot.summary and snapshot.summary.additional_properties.get("publish_id") == publish_id
    ]
    if not ours:
        raise FencedConflict(
            f"{wanted.table.name}: the commit is not in the table's history; start the stage once more"
        )
    last = max(ours, key=lambda snapshot: snapshot.sequence_number or 0)
    return Published(last.snapshot_id, rows, findings=tuple(findings))
