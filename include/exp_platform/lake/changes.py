"""What an experiment's rows have gained since a snapshot, from Iceberg's own history rather than from timestamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation

from exp_platform.lake.catalog import CATALOG
from exp_platform.lake.tables import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def only_appended(handle: IcebergTable, experiment_id: str, since: int, until: int) -> bool:
    """Whether every commit after `since`, up to `until`, has left this experiment's rows in place.

    Other experiments' commits do not count, nor do compactions. False also when `since` is not in the history: then
    nobody can tell.
    """
    snapshot = handle.snapshot_by_id(until)
    while snapshot is not None and snapshot.snapshot_id != since:
        summary = snapshot.summary
        harmless = summary is not None and (
            summary.operation in (Operation.APPEND, Operation.REPLACE)
            or summary.additional_properties.get("experiment_id", experiment_id) != experiment_id
        )
        if not harmless:
            return False
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else handle.snapshot_by_id(parent)
    return snapshot is not None


def read_appended(spark: SparkSession, table: Table, experiment_id: str, since: int, until: int) -> DataFrame:
    """This experiment's rows in the files appended after `since`, up to `until`; none when they are the same."""
    from pyspark.sql import functions as F

    source = spark.read.format("iceberg")
    if since == until:
        appended = source.option("versionAsOf", until).load(f"{CATALOG}.{table.name}").where(F.lit(False))
    else:
        source = source.option("start-snapshot-id", str(since)).option("end-snapshot-id", str(until))
        appended = source.load(f"{CATALOG}.{table.name}")
    return appended.where(F.col("experiment_id") == experiment_id).select(*table.columns)
