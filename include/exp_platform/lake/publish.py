"""Write, audit, publish: rows become visible only after their audit, atomically, and only for their experiment.

Each table has one of two writing engines. PyIceberg overwrites small Arrow tables. Spark writes rows to a branch that
nobody reads (`staging`); they are audited from their files, which a fenced commit then moves to the published branch.
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
from exp_platform.lake.engines import ensure_branch, overwrite_arrow
from exp_platform.lake.publication import BACKFILL_BRANCH_DAYS, MAIN, Origin, Published, fence_of
from exp_platform.lake.row_audit import (
    FEW_ROWS,
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
from exp_platform.lake.staging import Mode, commit_staged, discard, is_null_refused, laid_out, stage
from exp_platform.lake.tables import Table
from exp_platform.lake.types import to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.lake.staging import Staged

Rows = Any  # a DataFrame, pa.Table or list of dictionaries, as the table's engine takes them


@dataclass(frozen=True)
class Publication:
    """All of a publication except its rows. The handle was loaded at the stage's start and is the fence."""

    table: Table
    scope: Scope
    origin: Origin
    handle: IcebergTable
    audit: Audit | None = None
    branch: str = MAIN
    notes: Mapping[str, Any] = field(default_factory=dict)  # stored in the snapshot, for a run that builds on the rows
    before_commit: Callable[[], None] = lambda: None
    fence: int | None = None  # the snapshot that the stage started from; None takes it from the handle

    def summary(self) -> dict[str, str]:
        """Identity and notes as properties of the snapshot."""
        return self.origin.summary() | {"notes": json.dumps(self.notes)}


def publish(wanted: Publication, rows: Rows, *, finish: Finish | None = None, part: Part | None = None) -> Published:
    """Audit rows, then replace the scope's rows in one fenced commit.

    Raises FencedConflict when another writer has changed rows of the scope since the stage's start, and AuditRefused
    when the audit fails; both leave nothing visible. For a table that Spark writes, `finish` is the last step from the
    frame's rows to the table's, applied while they are written; with `part` only the part's rows are replaced, and
    the audit sees them together with the rows that stay.
    """
    is_frame = not isinstance(rows, (pa.Table, list))
    if is_frame != (wanted.table.engine == "spark"):
        raise TypeError(f"{wanted.table.name} is written by {wanted.table.engine}: found {type(rows).__name__}")
    return _publish_frame(wanted, rows, finish, part) if is_frame else _publish_arrow(wanted, rows)


def audited(batch: Staged, mode: Mode, audit: Audit | None, *, grain_is_proven: bool) -> list[Finding]:
    """Findings on staged rows, read back from their files; raises AuditRefused when a finding blocks."""
    whole = batch.beside_what_stays()
    staged = whole if batch.part is None else batch.frame()
    checked = None if grain_is_proven else whole
    _, findings = audit_staged(
        staged, batch.table, batch.scope, batch.broken_inside, whole=checked, few=batch.rows <= FEW_ROWS
    )
    # The suite may demand rows; an append of no rows must not fail it, because the table's rows stay.
    if audit and (batch.rows or mode == "overwrite") and not any(finding.blocks for finding in findings):
        findings += audit(whole, batch.table, batch.part)
    refuse(batch.table, findings)
    return findings


@contextmanager
def nulls_explained(table: Table, scope: Scope, frame: DataFrame) -> Iterator[None]:
    """Turn a writer's stop at a null in a required column into AuditRefused, which names the rows with a null."""
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
        done = commit_staged(staged, "overwrite", wanted.summary(), wanted.branch)
    finally:
        discard(staged)
    return Published(done.snapshot_id, done.rows, findings=tuple(findings))


def _publish_arrow(wanted: Publication, rows: pa.Table | list[dict[str, Any]]) -> Published:
    table, scope, handle = wanted.table, wanted.scope, wanted.handle
    frame = conform_arrow(to_arrow(table, rows) if isinstance(rows, list) else rows, table)
    count, findings = audit_arrow(frame, table, scope)
    # The suite runs only when no basic rule is broken; else its findings would repeat the same fault.
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
    """The publication's outcome. PyIceberg writes two snapshots, a delete and an append; the last one counts."""
    ours = [
        snapshot
        for snapshot in wanted.handle.metadata.snapshots
        if snapshot.summary and snapshot.summary.additional_properties.get("publish_id") == publish_id
    ]
    if not ours:
        raise FencedConflict(f"{wanted.table.name}: the commit is not in the table's history; start the stage again")
    last = max(ours, key=lambda snapshot: snapshot.sequence_number or 0)
    return Published(last.snapshot_id, rows, findings=tuple(findings))
