"""A lake and a raw zone for the tests of ingest: a few rows in, one run of the stage, a look at what it left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.sessions import session_for
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment
from exp_platform.pipelines.stages import ingest_events

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from exp_platform.pipelines.context import StageContext

DT = date(2026, 1, 10)
MICROSECONDS = pa.timestamp("us", tz="UTC")
TYPES = {
    "assignments": {"variant": pa.string(), "assignment_ts": MICROSECONDS, "unit": pa.string()},
    "exposures": {"variant": pa.string(), "exposure_ts": MICROSECONDS, "unit": pa.string()},
    "outcomes": {"metric_name": pa.string(), "value": pa.float64(), "outcome_ts": MICROSECONDS},
    "attributes": {"dimension": pa.string(), "value": pa.string(), "attribute_ts": MICROSECONDS},
}


def at(text: str) -> datetime:
    """A UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class IngestLake:
    """One lake; every test has an experiment of its own in it."""

    project: Project
    spark: SparkSession
    experiment_id: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The experiment's raw zone."""
        return Path(self.project.raw_folder(self.experiment_id))

    def with_experiment(self, experiment_id: str, **changes: Any) -> IngestLake:
        """An ingest lake for an experiment with two live arms and one arm without allocation."""
        base = self.project.experiments["exp_checkout_button_001"].model_dump()
        base |= {"experiment_id": experiment_id} | changes
        base["variants"] = changes.get(
            "variants",
            [
                {"id": "control", "allocation": 0.5, "is_control": True},
                {"id": "treatment", "allocation": 0.5},
                {"id": "paused", "allocation": 0.0},
            ],
        )
        experiments = self.project.experiments | {experiment_id: Experiment.model_validate(base)}
        return IngestLake(replace(self.project, experiments=experiments), self.spark, experiment_id)

    # --- raw files ---

    def row(self, dataset: str, user: str | None, *rest: Any, experiment_id: str | None = None) -> tuple[Any, ...]:
        """One event; `rest` in the contract's order."""
        return (experiment_id or self.experiment_id, user, *rest)

    def write(self, dataset: str, rows: Sequence[tuple[Any, ...]], name: str = "a.parquet", **types: Any) -> Path:
        """A Parquet file; `types` replaces a column's type, or drops the column when None."""
        columns = {"experiment_id": pa.string(), "user_id": pa.string()} | TYPES[dataset]
        arrays = {}
        for i, (column, kind) in enumerate(columns.items()):
            wanted = types.get(column, kind)
            if wanted is not None:
                arrays[column] = pa.array([row[i] for row in rows], wanted)
        return self.write_table(dataset, pa.table(arrays), name)

    def write_table(self, dataset: str, table: pa.Table, name: str = "a.parquet", **options: Any) -> Path:
        """A Parquet file of any shape."""
        path = self.folder / dataset / "dt=2026-01-06" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **options)
        return path

    def write_healthy(self, *datasets: str) -> None:
        """Two users in two arms, who are exposed and buy."""
        time = at("2026-01-06T10:00:00")
        rows = {
            "assignments": [("u1", "control", time, "user"), ("u2", "treatment", time, "user")],
            "exposures": [("u1", "control", time, "user"), ("u2", "treatment", time, "session")],
            "outcomes": [("u1", "revenue", 10.5, time), ("u2", "revenue", 0.0, time)],
        }
        for dataset in datasets or tuple(rows):
            self.write(dataset, [self.row(dataset, *row) for row in rows[dataset]], "healthy.parquet")

    # --- a run ---

    @contextmanager
    def context(self, run_id: str, dt: date = DT, audit: Any = None, **options: Any) -> Iterator[StageContext]:
        """The stage's context."""
        with opened(
            self.project,
            self.experiment_id,
            dt,
            run_id,
            "ingest_events",
            spark=self.spark,
            log=self.lines.append,
            audit=audit,
            options=options,
            now=options.pop("now", None),
        ) as ctx:
            yield ctx

    def run(self, run_id: str = "r1", dt: date = DT, **options: Any) -> list[str]:
        """Run the stage; what it logged."""
        self.lines.clear()
        with self.context(run_id, dt, **options) as ctx:
            ingest_events.run(ctx)
        return self.lines

    # --- a look ---

    def rows(self, table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """This experiment's rows, sorted; times as ISO text."""
        frame = self.spark.table(f"iceberg.{table}").where(f"experiment_id = '{self.experiment_id}'").where(where)
        times = {name for name, kind in frame.dtypes if kind == "timestamp"}
        picked = [f"date_format({c}, \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS\") AS {c}" if c in times else c for c in columns]
        return sorted((tuple(row) for row in frame.selectExpr(*picked).collect()), key=repr)

    def users(self, dataset: str) -> list[str]:
        """The users of a dataset's events, repeated as often as they have events."""
        return [row[0] for row in self.rows(f"exp.{dataset}", "user_id")]

    def refused(self, dataset: str) -> list[tuple[str, int]]:
        """(rule, count) of the quarantine."""
        return self.rows("ops.quarantine", "rule", "count", where=f"dataset = '{dataset}'")

    def findings(self, dataset: str, run_id: str = "r1") -> dict[str, tuple[bool, int]]:
        """Expectation -> (success, unexpected count)."""
        where = f"table = 'exp.{dataset}' AND run_id = '{run_id}'"
        found = self.rows("ops.contract_results", "expectation", "success", "unexpected_count", where=where)
        return {expectation: (success, count) for expectation, success, count in found}

    def snapshots(self, dataset: str) -> int:
        """How many snapshots of the table belong to this experiment."""
        snapshots = self.spark.table(f"iceberg.exp.{dataset}.snapshots")
        return snapshots.where(f"summary['experiment_id'] = '{self.experiment_id}'").count()

    def refs(self, dataset: str) -> list[str]:
        """Branches that are left."""
        refs = self.spark.table(f"iceberg.exp.{dataset}.refs").where("type = 'BRANCH' AND name <> 'main'")
        return [row["name"] for row in refs.collect()]


def make_lake(spark: SparkSession, folder: Path) -> IngestLake:
    """An empty lake under the shared session."""
    project = make_project(folder, contracts={"max_bad_fraction": 0.5})
    empty_lake(project)
    return IngestLake(project, session_for(spark, project))
