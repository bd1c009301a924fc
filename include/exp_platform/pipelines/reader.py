"""How a stage reads: only tables that it declares, only its experiment's rows, at the snapshots that its run pins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table as IcebergTable

from exp_platform.lake.batches import Batches, BucketFiles, FrameBatches, files_by_bucket, rows_of_files
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.filters import matching
from exp_platform.lake.handles import Handles
from exp_platform.lake.ops import read_rows
from exp_platform.lake.publication import MAIN, fence_of
from exp_platform.lake.rows import count_rows, read_arrow, read_spark, require_snapshot
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.manifest import Pins
from exp_platform.pipelines.record import StageRecord
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Reader:
    """Reads for one stage of one run, and records every read with its snapshot and number of rows."""

    run: Run
    stage: Stage
    record: StageRecord
    catalog: Catalog = field(repr=False)
    handles: Handles = field(repr=False)
    pins: Pins
    branch: str  # main, or the branch of a run with an older dt
    session: Callable[[], SparkSession] = field(repr=False)

    def frame(self, table: str, *, all_dts: bool = False) -> DataFrame:
        """This experiment's rows at the pinned snapshot; in a table with dt only the run's own dt, unless `all_dts`.

        Events that the experiment reads from streams come from the streams' table, in the columns of this one.
        """
        session, snapshot_id = self.session(), self.pin(table, all_dts=all_dts)
        if view := self.run.stream_views.get(table):
            return view.frame(session, snapshot_id)
        return read_spark(session, TABLES[table], snapshot_id, self._key(table, all_dts))

    def at_least(self, table: str) -> DataFrame:
        """The rows of `frame`, and for events in streams every other row of these: dear to read, cheap to ask about."""
        if view := self.run.stream_views.get(table):
            return view.whole_streams(self.session(), self.pin(table))
        return self.frame(table)

    def arrow(self, table: str, columns: Sequence[str] | None = None, *, all_dts: bool = False) -> pa.Table:
        """The rows of `frame` as an Arrow table, read without a session."""
        snapshot_id = self.pin(table, all_dts=all_dts)
        return read_arrow(self.handles[table], TABLES[table], snapshot_id, self._key(table, all_dts), columns)

    def batches(self, table: str, columns: Sequence[str]) -> Batches:
        """The given columns of the rows of `frame`, as Arrow batches inside Spark's tasks."""
        session, snapshot_id = self.session(), self.pin(table)
        key = self._key(table, all_dts=False)
        files = rows_of_files(session, self.handles[table], TABLES[table], snapshot_id, key, columns)
        return files or FrameBatches(read_spark(session, TABLES[table], snapshot_id, key).select(*columns))

    def files_by_bucket(self, table: str) -> BucketFiles | None:
        """The files of the rows of `frame`, by table bucket; None where files have deletes or rows of others."""
        key = self._key(table, all_dts=False)
        return files_by_bucket(self.handles[table], TABLES[table], self.pin(table), key)

    def rows(self, table: str, /, **key: Any) -> list[dict[str, Any]]:
        """This experiment's rows of an ops table, read from its newest snapshot instead of a pinned one."""
        self.stage.require_read(table)
        return read_rows(
            load_handle(self.run.project, table, self.catalog), {"experiment_id": self.run.experiment_id, **key}
        )

    def handle(self, table: str) -> IcebergTable:
        """The table as it was when the stage started, to read its history or other experiments' rows."""
        self.stage.require_read(table)
        return self.handles[self.stored_in(table)]

    def stored_in(self, table: str) -> str:
        """The table that holds this experiment's rows of a table: that of streams for events that it reads there."""
        view = self.run.stream_views.get(table)
        return view.table.name if view else table

    def owners_of(self, table: str) -> tuple[str, ...]:
        """The ids under which the history names the commits that change the rows which this experiment reads."""
        view = self.run.stream_views.get(table)
        return view.owners if view else (self.run.experiment_id,)

    def row_filter(self, table: str) -> BooleanExpression:
        """PyIceberg's filter for this experiment's rows of a table."""
        view = self.run.stream_views.get(table)
        return view.filter() if view else matching(self._key(table, all_dts=False))

    def pin(self, table: str, *, all_dts: bool = False) -> int:
        """The snapshot at which this run reads a table; the read is recorded with its number of rows."""
        self.stage.require_read(table)
        snapshot_id, stored = self.snapshot_of(table), self.stored_in(table)
        noted = self.record.manifest.snapshot_read(stored)
        if noted != snapshot_id or all_dts:
            rows = count_rows(self.handles[stored], snapshot_id, self._key(table, all_dts))
            self.record.manifest.add(stored, "read", snapshot_id, rows)
            self.record.log(f"read {rows:,} rows of {stored} (snapshot {snapshot_id})")
        return snapshot_id

    def rows_in(self, table: str) -> int:
        """Number of rows that this stage has read from a table."""
        return self.record.manifest.rows_read(self.stored_in(table))

    def snapshot_of(self, table: str) -> int:
        """The snapshot at which this stage reads a table; nothing is recorded.

        A stage reads its own outputs as it has just published them, else as they were when it started: its fence is
        that snapshot. It reads every other table at the snapshot that the run has pinned.
        """
        if table in self.record.published:
            return self.record.published[table].snapshot_id
        stored = self.stored_in(table)
        pinned = None if table in self.stage.publishes else self.pins.of(stored)
        if pinned is None:
            return fence_of(self.handles[stored], self.branch_of(stored))
        require_snapshot(self.handles[stored], TABLES[stored], pinned, self.run.run_id)
        return pinned

    def branch_of(self, table: str) -> str:
        """The table's branch for this run: a backfill must not replace rows that show the latest dt."""
        return self.branch if TABLES[table].shows_latest_dt else MAIN

    def beside(self, table: str) -> DataFrame:
        """This run's rows of a table that an audit compares with; as no input of the stage, they are not recorded."""
        key = self.run.scope.keys(TABLES[table])
        return read_spark(self.session(), TABLES[table], self.snapshot_of(table), key)

    def _key(self, table: str, all_dts: bool) -> dict[str, Any]:
        if view := self.run.stream_views.get(table):
            return {"stream": view.streams}
        if all_dts:
            return {"experiment_id": self.run.experiment_id}
        return self.run.scope.keys(TABLES[table])
