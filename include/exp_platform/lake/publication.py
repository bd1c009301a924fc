"""Publications in a table's history: whose rows a snapshot shows, from which inputs, and whether they are these."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation, Snapshot

from exp_platform.lake.audit import Finding, Scope
from exp_platform.lake.tables import RUN_COLUMNS, Table

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
    # Table -> snapshot id, and a digest of whatever else the rows are made of.
    inputs: Mapping[str, int | str] = field(default_factory=dict)

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


def notes_of(snapshot: Snapshot | None) -> dict[str, Any]:
    """The notes that a publication left with its rows for later runs; none where it has been expired."""
    said = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary is not None else {}
    notes: dict[str, Any] = json.loads(said.get("notes", "{}"))
    return notes


def _history(handle: IcebergTable, snapshot_id: int) -> Iterator[Snapshot]:
    snapshot = handle.snapshot_by_id(snapshot_id)
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = handle.snapshot_by_id(parent) if parent is not None else None
