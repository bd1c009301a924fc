"""Publications in a table's history: which run published the rows of a snapshot, and from which inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation, Snapshot

from exp_platform.lake.row_audit import Finding, Scope
from exp_platform.lake.tables import RUN_COLUMNS, Table

MAIN = "main"
BACKFILL_BRANCH_DAYS = 7


@dataclass(frozen=True)
class Origin:
    """The identity of a publication: its run and its inputs, stored in the snapshot's summary."""

    run_id: str
    stage: str
    dt: date
    config_hash: str
    code_version: str
    # Table -> snapshot id, and name -> digest for inputs that are not tables.
    inputs: Mapping[str, int | str] = field(default_factory=dict)

    def summary(self) -> dict[str, str]:
        """The identity as properties of a snapshot."""
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
    """The outcome of publishing: the snapshot to pin, its number of rows, and `repeated` for reused rows."""

    snapshot_id: int
    rows: int
    repeated: bool = False
    run_id: str = ""  # the run that published reused rows
    findings: tuple[Finding, ...] = field(default=(), repr=False)


def fence_of(handle: IcebergTable, branch: str) -> int:
    """The snapshot of a branch that a commit must still find unchanged; a branch yet to be made begins at main."""
    snapshot = handle.snapshot_by_name(branch) or handle.current_snapshot()
    assert snapshot is not None  # ensure_tables gives every table a first, empty snapshot
    return int(snapshot.snapshot_id)


def find_published(
    handle: IcebergTable, table: Table, scope: Scope, origin: Origin, branch: str = MAIN
) -> Published | None:
    """The latest publication of the scope, when it has the same stage, dt, configuration, code and inputs.

    A publication by another run serves as well, since the same inputs give the same bytes. It does not serve where the
    rows name their run, or where no table was read and so nothing identifies the inputs.
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
    """The latest snapshot of a branch that changed the scope's rows.

    None when a newer snapshot, not a compaction, does not name its experiment: it may have changed these rows too.
    """
    return publication_seen_at(handle, table, scope, fence_of(handle, branch))


def publication_seen_at(handle: IcebergTable, table: Table, scope: Scope, snapshot_id: int) -> Snapshot | None:
    """As `last_publication`, looking back from a given snapshot instead of the branch head."""
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


def history_is_cut(handle: IcebergTable, branch: str = MAIN) -> bool:
    """True when snapshots before the oldest one of a branch have been expired."""
    oldest = list(_history(handle, fence_of(handle, branch)))[-1]
    return oldest.parent_snapshot_id is not None


def notes_of(snapshot: Snapshot | None) -> dict[str, Any]:
    """The notes that a publication stored with its rows for later runs; empty without a publication."""
    said = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary is not None else {}
    notes: dict[str, Any] = json.loads(said.get("notes", "{}"))
    return notes


def _history(handle: IcebergTable, snapshot_id: int) -> Iterator[Snapshot]:
    snapshot = handle.snapshot_by_id(snapshot_id)
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = handle.snapshot_by_id(parent) if parent is not None else None
