"""The events of a past run for DuckDB: from the raw files that the run knew, refused by rules written here again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.changes import only_appended
from exp_platform.lake.filters import matching
from exp_platform.lake.ops import read_rows
from exp_platform.lake.raw_zone import filesystem
from exp_platform.lake.tables.names import INGESTED_FILES

TIMES = {
    "assignments": "assignment_ts",
    "exposures": "exposure_ts",
    "outcomes": "outcome_ts",
    "attributes": "attribute_ts",
}
COLUMNS = {
    "assignments": ("experiment_id", "user_id", "variant", "assignment_ts", "unit"),
    "exposures": ("experiment_id", "user_id", "variant", "exposure_ts", "unit"),
    "outcomes": ("experiment_id", "user_id", "metric_name", "value", "outcome_ts"),
    "attributes": ("experiment_id", "user_id", "dimension", "value", "attribute_ts"),
}
# What a row must be like to count; $experiment_id and $arms are the parameters.
_TEXT = "{0} IS NOT NULL AND {0} <> ''"
_ARM = "list_contains($arms, variant)"
_VALID = {
    "assignments": f"{_TEXT.format('user_id')} AND {_ARM} AND unit = 'user'",
    "exposures": f"{_TEXT.format('user_id')} AND {_ARM} AND unit IN ('user', 'session')",
    "outcomes": f"{_TEXT.format('user_id')} AND {_TEXT.format('metric_name')} AND isfinite(value)",
    "attributes": " AND ".join(map(_TEXT.format, ("user_id", "dimension", "value"))),
}
FIRST_MICROS, END_MICROS = -62_135_596_800_000_000, 253_402_300_800_000_000  # years 1 to 9999


class NotChecked(Exception):
    """The numbers of a run can't be computed again; the message says why, in words that follow `not checked:`."""


@dataclass(frozen=True)
class Pinned:
    """The inputs of a run: when it ingested, and the snapshot of each table of events."""

    ingested_at: datetime
    snapshots: dict[str, int]


def load_events(db: duckdb.DuckDBPyConnection, project: Project, experiment: Experiment, pinned: Pinned) -> list[str]:
    """Fill one DuckDB table for each dataset with distinct valid events; name the datasets that lack raw files.

    Events that come through a mapping, as all of a stream do, are taken as they were ingested: the mapping is the
    team's own SQL, of which there is no second version.
    """
    as_ingested: list[str] = []
    for dataset in COLUMNS:
        _create(db, dataset)
        if dataset in experiment.streams:
            _take_of_streams(db, project, dataset, experiment, pinned)
            as_ingested.append(dataset)
            continue
        table = f"exp.{dataset}"
        if table not in pinned.snapshots:
            continue
        handle = load_handle(project, table)
        if experiment.sources_of(dataset):
            _take_ingested(db, handle, dataset, experiment.experiment_id, pinned.snapshots[table])
            as_ingested.append(dataset)
        else:
            files = _files(project, handle, dataset, experiment.experiment_id, pinned)
            _take_raw(db, project, files, dataset, experiment)
    return as_ingested


def _create(db: duckdb.DuckDBPyConnection, dataset: str) -> None:
    types = {TIMES[dataset]: "TIMESTAMP", "value": "DOUBLE" if dataset == "outcomes" else "VARCHAR"}
    columns = ", ".join(f"{column} {types.get(column, 'VARCHAR')}" for column in COLUMNS[dataset])
    db.execute(f"CREATE TABLE {dataset} ({columns})")


def _files(
    project: Project, handle: IcebergTable, dataset: str, experiment_id: str, pinned: Pinned
) -> list[dict[str, Any]]:
    """The raw files that the run knew, as ops.ingested_files lists them, each unchanged since."""
    rows = read_rows(load_handle(project, INGESTED_FILES), {"experiment_id": experiment_id, "dataset": dataset})
    known = [row for row in rows if row["ingested_at"] <= pinned.ingested_at]
    now = handle.current_snapshot()
    since = pinned.snapshots[f"exp.{dataset}"]
    if len(known) < len(rows) and not (now and only_appended(handle, experiment_id, since, now.snapshot_id)):
        raise NotChecked(f"raw files of {dataset} have been read again since; the next run's numbers can be checked")
    for row in known:
        files, path = filesystem(project, row["path"])
        info = files.get_file_info(path)
        written = row["fingerprint"].partition(".")[0]  # after the point: how the rows were read
        if not info.is_file or (info.size, str(info.mtime_ns)) != (row["size"], written):
            raise NotChecked(f"{row['path']} has changed or is gone since the run read it; the next run reads it again")
    return known


def _take_raw(
    db: duckdb.DuckDBPyConnection,
    project: Project,
    files: Sequence[dict[str, Any]],
    dataset: str,
    experiment: Experiment,
) -> None:
    arms = [variant.id for variant in experiment.variants if variant.is_live]
    for row in files:
        store, path = filesystem(project, row["path"])
        with store.open_input_file(path) as source:
            table = in_contract_types(pq.read_table(source), dataset)
        _insert(db, dataset, table, experiment.experiment_id, arms)
    db.execute(f"CREATE OR REPLACE TABLE {dataset} AS SELECT DISTINCT * FROM {dataset}")


def in_contract_types(table: pa.Table, dataset: str) -> pa.Table:
    """The contract's columns; times as microseconds since 1970, those without a zone taken as UTC."""
    columns = {}
    for name in COLUMNS[dataset]:
        column = table[name]
        if name == TIMES[dataset]:
            if not pa.types.is_timestamp(column.type):
                raise NotChecked(f"{name} of {dataset} is {column.type} in a raw file, no time")
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        else:
            column = column.cast(pa.float64() if (dataset, name) == ("outcomes", "value") else pa.string())
        columns[name] = column
    return pa.table(columns)


def _insert(
    db: duckdb.DuckDBPyConnection, dataset: str, table: pa.Table, experiment_id: str, arms: Iterable[str]
) -> None:
    """Append the rows that keep every rule of the contract."""
    time = TIMES[dataset]
    db.register("incoming", table)
    chosen = {"experiment_id": experiment_id} | ({"arms": list(arms)} if "$arms" in _VALID[dataset] else {})
    db.execute(
        f"""INSERT INTO {dataset} SELECT * REPLACE (make_timestamp({time}) AS {time}) FROM incoming
        WHERE experiment_id = $experiment_id AND {time} >= {FIRST_MICROS} AND {time} < {END_MICROS}
        AND {_VALID[dataset]}""",
        chosen,
    )
    db.unregister("incoming")


def _take_ingested(
    db: duckdb.DuckDBPyConnection, handle: IcebergTable, dataset: str, experiment_id: str, snapshot_id: int
) -> None:
    """Append the events of a snapshot, which are distinct and valid; two with different ids may look alike."""
    for table in _stored(handle, dataset, {"experiment_id": experiment_id}, COLUMNS[dataset], snapshot_id):
        _append(db, dataset, table)


def _take_of_streams(
    db: duckdb.DuckDBPyConnection, project: Project, dataset: str, experiment: Experiment, pinned: Pinned
) -> None:
    """Append the events of an experiment's streams: of a log its own in its arms, of others what a stream delivers."""
    name = f"exp.stream_{dataset}"
    if name not in pinned.snapshots:
        raise NotChecked(f"the run has not recorded the snapshot of {name} that it read")
    handle, is_log = load_handle(project, name), dataset in ("assignments", "exposures")
    column = {"assignments": "variant", "exposures": "variant", "outcomes": "metric_name", "attributes": "dimension"}
    arms = [variant.id for variant in experiment.variants if variant.is_live]
    for stream in experiment.streams[dataset]:  # type: ignore[index]
        key = {"stream": stream} | ({"experiment_id": experiment.experiment_id} if is_log else {})
        wanted = pa.array(arms if is_log else list(project.stream(stream).delivered), pa.string())
        columns = tuple(one for one in COLUMNS[dataset] if is_log or one != "experiment_id")
        for table in _stored(handle, dataset, key, columns, pinned.snapshots[name]):
            found = table.filter(pc.is_in(table[column[dataset]], value_set=wanted))
            if not is_log:
                whose = pa.array([experiment.experiment_id] * found.num_rows, pa.string())
                found = found.add_column(0, "experiment_id", whose)
            _append(db, dataset, found)


def _stored(
    handle: IcebergTable, dataset: str, key: dict[str, str], columns: Sequence[str], snapshot_id: int
) -> Iterator[pa.Table]:
    """The rows of a key at a snapshot, some at a time."""
    if handle.snapshot_by_id(snapshot_id) is None:
        raise NotChecked(f"the snapshot of {'.'.join(handle.name())} that the run read has expired")
    scan = handle.scan(row_filter=matching(key), selected_fields=(*columns, *key), snapshot_id=snapshot_id)
    for batch in scan.to_arrow_batch_reader():
        yield pa.Table.from_batches([batch]).select(columns)


def _append(db: duckdb.DuckDBPyConnection, dataset: str, rows: pa.Table) -> None:
    """Append rows whose times are times, which DuckDB would take for local ones, as microseconds in UTC."""
    time = TIMES[dataset]
    at = rows[time].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    db.register("incoming", rows.set_column(rows.column_names.index(time), time, at))
    db.execute(f"INSERT INTO {dataset} SELECT * REPLACE (make_timestamp({time}) AS {time}) FROM incoming")
    db.unregister("incoming")
