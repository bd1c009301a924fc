"""Read one experiment's rows of a table at one snapshot, with Spark or with PyIceberg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import ExpError
from exp_platform.lake.catalog import CATALOG
from exp_platform.lake.filters import matching
from exp_platform.lake.tables import Table
from exp_platform.lake.types import arrow_schema, spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def require_snapshot(handle: IcebergTable, table: Table, snapshot_id: int, run_id: str) -> None:
    """Raise when a pinned snapshot has been expired."""
    if handle.snapshot_by_id(snapshot_id) is None:
        raise ExpError(
            f"{table.name}: snapshot {snapshot_id}, which run {run_id} reads, has been expired, by maintenance or by "
            "somebody else. Start the run again from its first stage"
        )


def read_spark(spark: SparkSession, table: Table, snapshot_id: int, key: Mapping[str, Any]) -> DataFrame:
    """The rows of a key in the declared columns; a column that was added after the snapshot is null."""
    from pyspark.sql import functions as F

    frame = spark.read.option("versionAsOf", snapshot_id).table(f"{CATALOG}.{table.name}")
    for column, value in key.items():
        frame = frame.where(F.col(column) == F.lit(value))
    known = set(frame.columns)
    return frame.select(
        *(F.col(c) if c in known else F.lit(None).cast(spark_type(kind)).alias(c) for c, kind in table.types.items())
    )


def read_arrow(
    handle: IcebergTable,
    table: Table,
    snapshot_id: int,
    key: Mapping[str, Any],
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of a key as an Arrow table, in the given columns or all declared ones."""
    wanted = list(columns or table.columns)
    stored = handle.scan(snapshot_id=snapshot_id).projection().column_names
    present = tuple(c for c in wanted if c in stored)
    found = handle.scan(row_filter=matching(dict(key)), selected_fields=present, snapshot_id=snapshot_id).to_arrow()
    declared = arrow_schema(table)
    arrays = [
        found[c].cast(declared.field(c).type) if c in present else pa.nulls(found.num_rows, declared.field(c).type)
        for c in wanted
    ]
    return pa.table(arrays, names=wanted)


def count_rows(handle: IcebergTable, snapshot_id: int, key: Mapping[str, Any]) -> int:
    """Number of rows of a partition key, from the counts in the table's metadata; no data file is read."""
    files = handle.scan(row_filter=matching(dict(key)), snapshot_id=snapshot_id).plan_files()
    return sum(task.file.record_count for task in files)


def lies_as_declared(handle: IcebergTable, snapshot_id: int, key: Mapping[str, Any]) -> bool:
    """True when all files of a key have the table's present partitioning; a change of it leaves old files alone."""
    files = handle.scan(row_filter=matching(dict(key)), snapshot_id=snapshot_id).plan_files()
    return all(task.file.spec_id == handle.spec().spec_id for task in files)
