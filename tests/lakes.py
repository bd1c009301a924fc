"""A small lake in a temp folder, and the few rows that tests publish to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import MAIN, Origin, Published, fence_of, find_published
from exp_platform.lake.publish import Publication, publish
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.staging import commit_staged, discard, stage
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import spark_type

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable
    from pyspark.sql import DataFrame, SparkSession

DT = date(2026, 2, 1)
CANONICAL = "silver.fact_assignment_canonical"
EVENTS = "exp.assignments"
DELTAS = "exp.did_pretrend_delta"
# Ids that agree in their first 16 characters, which is where Iceberg's statistics are cut by default.
ONE, TWO = "exp_checkout_button_001", "exp_checkout_button_002"


@dataclass
class Lake:
    """A project, a session that knows its catalog, and short ways to publish and to look."""

    project: Project
    spark: SparkSession

    def handle(self, table: str) -> IcebergTable:
        return load_handle(self.project, table)

    def canonical(self, experiment_id: str, users: int, variant: str = "control") -> DataFrame:
        return self.spark.range(users).selectExpr(
            f"'{experiment_id}' AS experiment_id",
            "cast(id AS string) AS user_id",
            f"'{variant}' AS variant_id",
            "timestamp'2026-01-05 10:00:00' AS assignment_time_utc",
            "1L AS n_assignment_events",
            "1L AS n_variants",
            "false AS is_conflicted",
            "false AS is_outside_window",
            "true AS is_valid",
        )

    def events(self, experiment_id: str, first: int, last: int) -> DataFrame:
        return self.spark.range(first, last).selectExpr(
            f"'{experiment_id}' AS experiment_id",
            "cast(id AS string) AS user_id",
            "'control' AS variant",
            "timestamp'2026-01-05 10:00:00' AS assignment_ts",
            "'user' AS unit",
            "'a.parquet' AS source_file",
            "timestamp'2026-02-02 00:00:00' AS ingested_at",
        )

    def deltas(self, experiment_id: str, days: int, dt: date = DT, run_id: str = "r") -> list[dict[str, Any]]:
        at = datetime(2026, 2, 2, tzinfo=UTC)
        return [
            {
                "experiment_id": experiment_id,
                "dt": dt,
                "metric_name": "revenue",
                "variant_id": "treatment",
                "relative_day": -day,
                "delta": 0.5,
                "run_id": run_id,
                "computed_at": at,
            }
            for day in range(1, days + 1)
        ]

    def frame(self, table: str, experiment_id: str, size: int, dt: date = DT) -> Any:
        """Rows for a table of either engine."""
        return self.canonical(experiment_id, size) if table == CANONICAL else self.deltas(experiment_id, size, dt)

    def publish(self, table: str, frame: Any, experiment_id: str, run_id: str = "r", **options: Any) -> Published:
        dt = options.pop("dt", DT)
        handle = options.pop("handle", None) or self.handle(table)
        inputs = options.pop("inputs", {})
        origin = Origin(run_id, options.pop("stage", "a_stage"), dt, "config", "code", inputs)
        scope, branch = Scope(experiment_id, dt), options.get("branch", MAIN)
        found = None if options.pop("again", False) else find_published(handle, TABLES[table], scope, origin, branch)
        return found or publish(Publication(TABLES[table], scope, origin, handle, **options), frame)

    def filled(self, table: str, frame: DataFrame) -> DataFrame:
        """The frame with every other column of the table as null."""
        types = TABLES[table].types
        missing = [f"cast(NULL AS {spark_type(types[c])}) AS {c}" for c in types if c not in frame.columns]
        return frame.selectExpr("*", *missing)

    def append(self, experiment_id: str, first: int, last: int, run_id: str = "r", handle: Any = None) -> Published:
        """Add assignment events by a staged, fenced commit."""
        fenced = handle or self.handle(EVENTS)
        events = self.events(experiment_id, first, last)
        staged = stage(events, TABLES[EVENTS], Scope(experiment_id, DT), fenced, fence_of(fenced, "main"))
        try:
            return commit_staged(staged, "append", Origin(run_id, "ingest_events", DT, "config", "code").summary())
        finally:
            discard(staged)

    def count(self, table: str, experiment_id: str, ref: str | None = None) -> int:
        source = f"iceberg.{table}" + (f".branch_{ref}" if ref else "")
        only_dt = f" AND dt = date'{DT}'" if TABLES[table].has_dt else ""
        return self.spark.table(source).where(f"experiment_id = '{experiment_id}'{only_dt}").count()

    def files(self, table: str, experiment_id: str) -> set[str]:
        rows = self.spark.table(f"iceberg.{table}.files").where(f"partition.experiment_id = '{experiment_id}'")
        return {row["file_path"] for row in rows.collect()}
