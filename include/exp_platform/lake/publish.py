"""Write, audit, publish: a result becomes visible only after its audit, atomically, for its experiment alone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation, Snapshot

from exp_platform.errors import FencedConflict
from exp_platform.lake.audit import (
    Audit,
    Finding,
    Frame,
    Scope,
    audit_arrow,
    audit_spark,
    conform_arrow,
    conform_spark,
    refuse,
)
from exp_platform.lake.engines import ensure_branch, overwrite_arrow, overwrite_spark
from exp_platform.lake.tables import RUN_COLUMNS, Table
from exp_platform.lake.types import to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAIN = "main"
BACKFILL_BRANCH_DAYS = 7


@dataclass(frozen=True)
class Origin:
    """Who publishes, and from what: written into the snapshot's summary with the data."""

    run_id: str
    stage: str
    dt: date
    config_hash: str
    code_version: str
    inputs: Mapping[str, int | str] = field(
        default_factory=dict
    )  # table -> snapshot id, or anything else that was read

    def summary(self) -> dict[str, str]:
        """Properties of the snapshot that identify the publication."""
        return {
            "run_id": self.run_id,
            "stage": self.stage,
            "dt": self.dt.isoformat(),
            "config_hash": self.config_hash,
            "code_version": self.code_version,
            "inputs": json.dumps(dict(sorted(self.inputs.items()))),
        }


@dataclass(frozen=True)
class Published:
    """One publication: the snapshot to pin, its rows, and whether it had been there already."""

    snapshot_id: int
    rows: int
    repeated: bool = False
    run_id: str = ""  # whose publication it is, where it had been there already
    findings: tuple[Finding, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Job:
    """Everything about one publication but the rows."""

    table: Table
    scope: Scope
    origin: Origin
    handle: IcebergTable
    fence: int
    branch: str
    audit: Audit | None
    notes: Mapping[str, Any]
    before_commit: Callable[[], None]


def publish(
    table: Table,
    frame: DataFrame | pa.Table | list[dict[str, Any]],
    scope: Scope,
    origin: Origin,
    handle: IcebergTable,
    *,
    audit: Audit | None = None,
    branch: str = MAIN,
    again: bool = False,
    notes: Mapping[str, Any] | None = None,
    before_commit: Callable[[], None] = lambda: None,
) -> Published:
    """Audit a result, then replace the scope's rows in one commit.

    `handle` was loaded at the stage's start and is the fence: a commit by somebody else to the same scope since then
    ends in FencedConflict. A publication that is there already is found and left as it is, unless `again`.
    A refused audit raises AuditRefused and leaves nothing visible.
    """
    before = None if again else find_published(handle, table, scope, origin, branch)
    if before is not None:
        return before
    fence = fence_of(handle, branch)
    job = _Job(table, scope, origin, handle, fence, branch, audit, notes or {}, before_commit)
    if table.engine == "spark" and not isinstance(frame, (pa.Table, list)):
        return _publish_spark(job, frame)
    if table.engine != "pyiceberg":
        raise TypeError(f"{table.name} is written by {table.engine}: publish a DataFrame, not {type(frame).__name__}")
    return _publish_arrow(job, frame)


def fence_of(handle: IcebergTable, branch: str) -> int:
    """The snapshot that a writer holds on to; a branch that does not exist yet begins at main."""
    snapshot = handle.snapshot_by_name(branch) or handle.current_snapshot()
    assert snapshot is not None  # ensure_tables gives every table a first, empty snapshot
    return snapshot.snapshot_id


def find_published(
    handle: IcebergTable, table: Table, scope: Scope, origin: Origin, branch: str = MAIN
) -> Published | None:
    """The publication from the same stage, dt, config, code and inputs, when nobody has replaced it since.

    Another run's serves as well, since the same inputs give the same bytes; but not where the rows name their run, or
    where no table was read, so that nothing says what they were made of.
    """
    last = last_publication(handle, table, scope, branch)
    if last is None or last.summary is None:
        return None
    properties = last.summary.additional_properties
    names_its_run = not RUN_COLUMNS.isdisjoint(table.columns) or not origin.inputs
    same = (key for key in origin.summary() if names_its_run or key != "run_id")
    if any(properties.get(key) != origin.summary()[key] for key in same):
        return None
    return Published(last.snapshot_id, int(properties.get("rows", 0)), repeated=True, run_id=properties["run_id"])


def last_publication(handle: IcebergTable, table: Table, scope: Scope, branch: str = MAIN) -> Snapshot | None:
    """The latest snapshot of a branch that changed the scope's rows; None below a write that says not whose it is."""
    return publication_seen_at(handle, table, scope, fence_of(handle, branch))


def publication_seen_at(handle: IcebergTable, table: Table, scope: Scope, snapshot_id: int) -> Snapshot | None:
    """The same of what a reader of some snapshot sees."""
    for snapshot in _history(handle, snapshot_id):
        properties = snapshot.summary.additional_properties if snapshot.summary else {}
        compacted = snapshot.summary is not None and snapshot.summary.operation == Operation.REPLACE
        if "experiment_id" not in properties and not compacted:
            return None
        if properties.get("experiment_id") != scope.experiment_id:
            continue
        if table.has_dt and properties.get("dt") != scope.dt.isoformat():
            continue
        return snapshot
    return None


def notes_of(snapshot: Snapshot | None) -> dict[str, Any]:
    """What a publication said of its rows for later runs."""
    said = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary is not None else {}
    notes: dict[str, Any] = json.loads(said.get("notes", "{}"))
    return notes


def _history(handle: IcebergTable, snapshot_id: int) -> Iterator[Snapshot]:
    snapshot = handle.snapshot_by_id(snapshot_id)
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = handle.snapshot_by_id(parent) if parent is not None else None


def _publish_spark(job: _Job, frame: DataFrame) -> Published:
    """Computed once: the persisted result is audited, then written."""
    conformed = conform_spark(frame, job.table)
    own = not conformed.is_cached
    staged = conformed.persist() if own else conformed
    try:
        rows, findings = audit_spark(staged, job.table, job.scope)
        findings += _injected(job, staged, findings)
        summary = _ready(job, rows, findings)
        overwrite_spark(staged, job.table, job.scope, job.fence, job.branch, summary)
    finally:
        if own:
            staged.unpersist()
    job.handle.refresh()
    return _landed(job, summary["publish_id"], rows, findings)


def _publish_arrow(job: _Job, frame: DataFrame | pa.Table | list[dict[str, Any]]) -> Published:
    conformed = conform_arrow(_as_arrow(job.table, frame), job.table)
    rows, findings = audit_arrow(conformed, job.table, job.scope)
    findings += _injected(job, conformed, findings)
    summary = _ready(job, rows, findings)
    overwrite_arrow(job.handle, conformed, job.table, job.scope, job.branch, summary)
    return _landed(job, summary["publish_id"], rows, findings)


def _as_arrow(table: Table, frame: Any) -> pa.Table:
    if isinstance(frame, list):
        return to_arrow(table, frame)
    return frame if isinstance(frame, pa.Table) else frame.toArrow()


def _injected(job: _Job, frame: Frame, findings: list[Finding]) -> list[Finding]:
    """The suite runs only on rows that are sound in themselves: its messages would else repeat the same fault."""
    if job.audit is None or any(f.blocks for f in findings):
        return []
    return list(job.audit(frame, job.table, None))


def _ready(job: _Job, rows: int, findings: list[Finding]) -> dict[str, str]:
    """Refuse, or return the summary that the snapshot will carry: the last moment before the commit."""
    refuse(job.table, findings)
    if job.branch != MAIN:
        ensure_branch(job.handle, job.fence, job.branch, BACKFILL_BRANCH_DAYS)
    job.before_commit()
    return job.origin.summary() | {
        "experiment_id": job.scope.experiment_id,
        "rows": str(rows),
        "mode": "overwrite",
        "publish_id": uuid.uuid4().hex,
        "notes": json.dumps(job.notes),
    }


def _landed(job: _Job, publish_id: str, rows: int, findings: list[Finding]) -> Published:
    """The last snapshot of this publication: PyIceberg writes two, one that removes and one that adds."""
    ours = [
        snapshot
        for snapshot in job.handle.metadata.snapshots
        if snapshot.summary and snapshot.summary.additional_properties.get("publish_id") == publish_id
    ]
    if not ours:
        raise FencedConflict(f"{job.table.name}: the commit is not in the table's history; start the stage once more")
    last = max(ours, key=lambda snapshot: snapshot.sequence_number or 0)
    return Published(last.snapshot_id, rows, findings=tuple(findings))
