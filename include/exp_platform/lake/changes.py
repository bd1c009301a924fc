"""Changes of an experiment's rows since a snapshot, read from Iceberg's history instead of from timestamps."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation

from exp_platform.lake.catalog import CATALOG
from exp_platform.lake.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def only_appended(handle: IcebergTable, owners: str | Collection[str], since: int, until: int) -> bool:
    """True when the commits after `since`, up to `until`, have only added rows of these owners, or none.

    An owner is an experiment, or a stream as `stream.<name>`. Other owners' commits do not count, nor do compactions.
    False when `since` is no longer in the history.
    """
    return _only((Operation.APPEND, Operation.REPLACE), handle, owners, since, until)


def untouched(handle: IcebergTable, owners: str | Collection[str], since: int, until: int) -> bool:
    """True when both snapshots have the same rows of these owners; False when `since` is not in the history."""
    return _only((Operation.REPLACE,), handle, owners, since, until)


def is_expired(handle: IcebergTable, snapshot_id: int) -> bool:
    """True when a snapshot is no longer there: maintenance, or somebody else, has expired it."""
    return handle.snapshot_by_id(snapshot_id) is None


def _only(
    harmless: tuple[Operation, ...], handle: IcebergTable, owners: str | Collection[str], since: int, until: int
) -> bool:
    ours = {None, owners} if isinstance(owners, str) else {None, *owners}
    snapshot = handle.snapshot_by_id(until)
    while snapshot is not None and snapshot.snapshot_id != since:
        summary = snapshot.summary
        if summary is None or (
            summary.operation not in harmless and summary.additional_properties.get("experiment_id") in ours
        ):
            return False
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else handle.snapshot_by_id(parent)
    return snapshot is not None


def read_appended(spark: SparkSession, table: Table, experiment_id: str, since: int, until: int) -> DataFrame:
    """This experiment's rows in the files that were appended after `since`, up to `until`."""
    from pyspark.sql import functions as F

    return files_appended(spark, table, since, until).where(F.col("experiment_id") == experiment_id)


def files_appended(spark: SparkSession, table: Table, since: int, until: int) -> DataFrame:
    """All owners' rows in the files that were appended after `since`, up to `until`."""
    from pyspark.sql import functions as F

    source = spark.read.format("iceberg")
    if since == until:
        appended = source.option("versionAsOf", until).load(f"{CATALOG}.{table.name}").where(F.lit(False))
    else:
        source = source.option("start-snapshot-id", str(since)).option("end-snapshot-id", str(until))
        appended = source.load(f"{CATALOG}.{table.name}")
    return appended.select(*table.columns)
