"""What a stage sees of the world: its experiment, its clock, and the rows of the snapshots that its run has pinned."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Metric
from exp_platform.lake.audit import Audit, Scope
from exp_platform.lake.batches import Batches, FrameBatches, rows_of_files
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.publish import MAIN, Published, fence_of
from exp_platform.lake.read import count_rows, read_arrow, read_spark, require_snapshot
from exp_platform.lake.tables import TABLES
from exp_platform.ledger import manifest
from exp_platform.ledger.contract_results import ContractResults
from exp_platform.pipelines.dates import cutoff

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass
class StageView:
    """One stage of one run of one experiment, and what it may read."""

    project: Project
    experiment: Experiment
    metrics: tuple[Metric, ...]
    dt: date
    run_id: str
    stage: str
    config_hash: str
    code_version: str
    now: datetime  # the one clock reading of the stage
    branch: str  # main, or the branch of a run with an older dt
    pins: manifest.Pins
    catalog: Catalog = field(repr=False)
    handles: dict[str, IcebergTable] = field(repr=False)  # every table as it was when the stage started: the fences
    outputs: tuple[str, ...]
    needs_spark: bool
    audit: Audit | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # what only some stages take: seed, fault, full_refresh
    say: Callable[[str], None] = field(default=lambda line: print(line, flush=True), repr=False)
    _session: SparkSession | None = None
    _published: dict[str, Published] = field(default_factory=dict)

    # --- what the stage may know -----------------------------------------------------------------------------------

    @property
    def experiment_id(self) -> str:
        """The experiment that this stage works for."""
        return self.experiment.experiment_id

    @property
    def cutoff(self) -> datetime:
        """Events with time < cutoff are seen: dt + 1 day, 00:00 UTC."""
        return cutoff(self.dt)

    @property
    def spark(self) -> SparkSession:
        """The session, built when first asked for."""
        if not self.needs_spark:
            raise RuntimeError(f"{self.stage} is declared as a stage without a session (pipelines/stages/__init__.py)")
        if self._session is None:
            from exp_platform.spark.session import build_spark_session

            self._session = build_spark_session(f"{self.stage} {self.experiment_id}", self.project)
        return self._session

    @cached_property
    def manifest(self) -> manifest.StageManifest:
        """What this stage has read and published."""
        return manifest.StageManifest(
            self.project,
            self.catalog,
            self.experiment_id,
            self.run_id,
            self.dt,
            self.stage,
            self.config_hash,
            self.code_version,
            self.now,
        )

    @cached_property
    def contract_results(self) -> ContractResults:
        """What the audits of this stage have found."""
        return ContractResults(
            self.project, self.catalog, self.experiment_id, self.run_id, self.dt, self.stage, self.now
        )

    @property
    def input_snapshots(self) -> str:
        """JSON of table -> snapshot id that this stage has read so far, for the column of that name."""
        return json.dumps(self.manifest.inputs(self.outputs), sort_keys=True)

    def log(self, line: str) -> None:
        """One readable line for the task log."""
        self.say(f"{self.stage}: {line}")

    # --- read ------------------------------------------------------------------------------------------------------

    def read(self, table: str, *, all_dts: bool = False) -> DataFrame:
        """This experiment's rows (of this dt, where the table has one) at the snapshot that this run pinned."""
        session, snapshot_id = self.spark, self._pin(table, all_dts)
        return read_spark(session, TABLES[table], snapshot_id, self._key(table, all_dts))

    def read_arrow(self, table: str, columns: Sequence[str] | None = None, *, all_dts: bool = False) -> pa.Table:
        """The same as an Arrow table, without a session."""
        snapshot_id = self._pin(table, all_dts)
        return read_arrow(self.handles[table], TABLES[table], snapshot_id, self._key(table, all_dts), columns)

    def read_batches(self, table: str, columns: Sequence[str]) -> Batches:
        """Some columns of the same rows, in Arrow batches where the work is done."""
        session, snapshot_id = self.spark, self._pin(table, all_dts=False)
        key = self._key(table, all_dts=False)
        files = rows_of_files(session, self.handles[table], TABLES[table], snapshot_id, key, columns)
        return files or FrameBatches(read_spark(session, TABLES[table], snapshot_id, key).select(*columns))

    def rows_read(self, table: str) -> int:
        """How many rows of this experiment `read` has found in a table."""
        return self.manifest.rows_read(table)

    def snapshot_of(self, table: str) -> int:
        """The snapshot at which this stage reads a table.

        A stage's own outputs are read as they were when it started, or as it has just published them: only then does
        what it writes fit its fence. Everything else is read where the run has pinned it.
        """
        if table in self._published:
            return self._published[table].snapshot_id
        pinned = None if table in self.outputs else self.pins.of(table)
        if pinned is None:
            return fence_of(self.handles[table], self._branch(table))
        require_snapshot(self.handles[table], TABLES[table], pinned, self.run_id)
        return pinned

    def _pin(self, table: str, all_dts: bool) -> int:
        snapshot_id = self.snapshot_of(table)
        rows = count_rows(self.handles[table], snapshot_id, self._key(table, all_dts))
        self.manifest.add(table, "read", snapshot_id, rows)
        self.log(f"read {rows:,} rows of {table} (snapshot {snapshot_id})")
        return snapshot_id

    def _key(self, table: str, all_dts: bool) -> dict[str, Any]:
        if all_dts:
            return {"experiment_id": self.experiment_id}
        return self._scope.keys(TABLES[table])

    def rows(self, table: str, /, **key: Any) -> list[dict[str, Any]]:
        """This experiment's rows of an ops table, as they are now."""
        return read_rows(load_handle(self.project, table, self.catalog), {"experiment_id": self.experiment_id, **key})

    # --- inside ----------------------------------------------------------------------------------------------------

    @property
    def _scope(self) -> Scope:
        return Scope(self.experiment_id, self.dt)

    def _branch(self, table: str) -> str:
        return self.branch if TABLES[table].shows_latest_dt else MAIN
