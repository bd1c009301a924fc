"""The promises that hold after every scenario, checked on the files, the tables, the books and the memo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table as IcebergTable
from tests.torture.world import World

from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import RUN_COLUMNS, TABLES, Table
from exp_platform.ledger.manifest import OK
from exp_platform.pipelines.registry import EVENTS, STAGES, Stage
from exp_platform.pipelines.run import Run

UNLIKE = RUN_COLUMNS | {"at", "updated_at", "synced_at"}  # tell when and by whom, not the answer
ANSWERS = tuple(dict.fromkeys(table for stage in STAGES for table in stage.publishes))


_DIGESTS: dict[tuple[object, ...], str] = {}
_GRAINS: dict[tuple[object, ...], int] = {}


@dataclass(frozen=True)
class Seen:
    """The state of a world, as digests: raw files by path, rows by table and experiment."""

    raw: Mapping[str, str]
    rows: Mapping[tuple[str, str], str]

    def of(self, experiment_id: str) -> dict[str, str]:
        """The digest of each table's rows of one experiment."""
        return {table: digest for (table, whose), digest in self.rows.items() if whose == experiment_id}


def look(world: World) -> Seen:
    """The present state."""
    handles = ensure_tables(world.project)
    both = (world.one, world.two)
    rows = {(name, whose): rows_digest(handles[name], TABLES[name], whose) for name in ANSWERS for whose in both}
    return Seen(raw_digests(world), rows)


def raw_digests(world: World) -> dict[str, str]:
    """Each raw file with a digest of its bytes."""
    root = Path(world.project.resolve(world.project.profile.raw_root))
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_digest(handle: IcebergTable, table: Table, experiment_id: str) -> str:
    """A digest of the answer columns of an experiment's rows, in whatever order they are stored."""
    snapshot = handle.current_snapshot()
    key = (handle.metadata.table_uuid, snapshot.snapshot_id if snapshot else 0, experiment_id)
    if key not in _DIGESTS:  # the rows of a snapshot never change
        _DIGESTS[key] = _rows_digest(handle, table, experiment_id)
    return _DIGESTS[key]


def _rows_digest(handle: IcebergTable, table: Table, experiment_id: str) -> str:
    columns = [column for column in table.columns if column not in UNLIKE]
    rows = _rows(handle, table, experiment_id, columns).to_pylist(maps_as_pydicts="strict")
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()


def broken(world: World, run: Run, before: Seen, expected: Mapping[str, str], stages: Sequence[Stage]) -> Iterator[str]:
    """One sentence for each promise that a run of an experiment has broken which has finished some stages."""
    now = look(world)
    yield from changed_raw(before, now)
    yield from changed_rows("another experiment's rows", before.of(world.two), now.of(world.two))
    yield from changed_rows("unlike an undisturbed run", expected, now.of(world.one))
    yield from broken_grains(world)
    yield from unaudited(world, run.experiment_id)
    yield from books_that_disagree(world, run, stages)


def changed_raw(before: Seen, now: Seen) -> Iterator[str]:
    """Raw files that are not as they were."""
    for path in sorted(before.raw.keys() | now.raw.keys()):
        if before.raw.get(path) != now.raw.get(path):
            yield f"raw file {path} was changed"


def changed_rows(what: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Tables whose rows differ."""
    for table in sorted(before):
        if before[table] != now.get(table):
            yield f"{table}: {what}"


def broken_grains(world: World) -> Iterator[str]:
    """Tables in which two rows share a grain."""
    for name, handle in ensure_tables(world.project).items():
        grain = list(TABLES[name].grain)
        if not grain:
            continue
        snapshot = handle.current_snapshot()
        key = (handle.metadata.table_uuid, snapshot.snapshot_id if snapshot else 0)
        if key not in _GRAINS:
            rows = handle.scan(selected_fields=tuple(grain)).to_arrow()
            _GRAINS[key] = rows.num_rows - (rows.group_by(grain).aggregate([]).num_rows if rows.num_rows else 0)
        if twice := _GRAINS[key]:
            yield f"{name}: {twice} rows share their grain ({', '.join(grain)}) with another row"


def unaudited(world: World, experiment_id: str) -> Iterator[str]:
    """Published snapshots of a stage's table without a recorded audit, or with a broken rule in it."""
    handles = ensure_tables(world.project)
    found = handles["ops.contract_results"].scan(row_filter=f"experiment_id = '{experiment_id}'").to_arrow().to_pylist()
    audits = {(row["table"], _auditor(row["table"], row["run_id"])) for row in found}
    blocking = {(r["table"], r["run_id"]) for r in found if not r["success"] and r["severity"] != "warning"}
    for name in ANSWERS:
        for snapshot in handles[name].metadata.snapshots:
            said = snapshot.summary.additional_properties if snapshot.summary else {}
            if said.get("experiment_id") != experiment_id or "publish_id" not in said or not int(said.get("rows", 0)):
                continue
            key = (name, said["run_id"])
            if (name, _auditor(name, said["run_id"])) not in audits:
                yield f"{name}: snapshot {snapshot.snapshot_id} of run {said['run_id']} has no recorded audit"
            if key in blocking:
                yield f"{name}: snapshot {snapshot.snapshot_id} of run {said['run_id']} broke a rule"


def _auditor(table: str, run_id: str) -> str:
    """The run whose audit counts: each run judges all events that it finds, so for events it may be any run."""
    return "" if table in EVENTS else run_id


def books_that_disagree(world: World, run: Run, stages: Sequence[Stage]) -> Iterator[str]:
    """Differences between the manifest of a run's finished stages, the tables, the decision and the memo."""
    handles = ensure_tables(world.project)
    where = f"experiment_id = '{run.experiment_id}' AND run_id = '{run.run_id}'"
    manifest = handles["ops.run_manifest"].scan(row_filter=where).to_arrow().to_pylist()
    for row in manifest:
        if row["status"] != OK:
            yield f"manifest: {row['stage']}: {row['table']} is {row['status']}: {row['error']}"
    recorded = {row["table"]: row for row in manifest if row["role"] == "published" and row["status"] == OK}
    must = {name for stage in stages if stage.name != "ingest_events" for name in stage.publishes}
    for name in sorted(must - recorded.keys()):
        yield f"manifest: {name} is not recorded as published"
    for name in sorted(recorded.keys() & set(ANSWERS)):
        yield from _unlike_manifest(handles[name], TABLES[name], run, recorded[name])
    if STAGES[-1] in stages:
        yield from _unlike_memo(world, run, handles)


def _unlike_manifest(handle: IcebergTable, table: Table, run: Run, row: dict[str, Any]) -> Iterator[str]:
    if handle.snapshot_by_id(row["snapshot_id"]) is None:
        yield f"manifest: {table.name}: snapshot {row['snapshot_id']} is gone"
        return
    columns = list(table.grain) or list(table.columns)[:1]
    for what, snapshot in (("recorded", row["snapshot_id"]), ("present", None)):
        found = _rows(handle, table, run.experiment_id, columns, snapshot, run)
        # Of appended events the manifest counts those that were added.
        if found.num_rows != row["rows"] and not (table.name.startswith("exp.") and found.num_rows >= row["rows"]):
            yield f"manifest: {table.name}: {row['rows']} rows recorded, {found.num_rows} in the {what} snapshot"


def _unlike_memo(world: World, run: Run, handles: Mapping[str, IcebergTable]) -> Iterator[str]:
    path = Path(world.project.resolve(world.project.profile.memo_dir)) / f"{run.experiment_id}.json"
    if not path.is_file():
        yield f"memo: {path.name} is missing"
        return
    memo = json.loads(path.read_text())
    decisions = _rows(handles["gold.fct_experiment_decision"], TABLES["gold.fct_experiment_decision"],
                      run.experiment_id, ["variant_id", "decision"], None, run).to_pylist()  # fmt: skip
    if memo["dt"] != str(run.dt) or memo["run"]["run_id"] != run.run_id:
        yield f"memo: as of {memo['dt']} by {memo['run']['run_id']}, expected {run.dt} by {run.run_id}"
    if memo["answer"]["decision"] not in {row["decision"] for row in decisions}:
        yield f"memo: says {memo['answer']['decision']}, the tables say {decisions}"


def _rows(
    handle: IcebergTable,
    table: Table,
    experiment_id: str,
    columns: list[str],
    snapshot_id: int | None = None,
    run: Run | None = None,
) -> pa.Table:
    current = handle.current_snapshot()
    assert current is not None
    key: dict[str, Any] = dict(table.key_of(experiment_id))
    if run is not None and table.has_dt:
        key["dt"] = run.dt
    return read_arrow(handle, table, snapshot_id or current.snapshot_id, key, columns)
