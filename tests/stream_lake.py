"""Two lakes for the same events: in one each experiment has a copy of its own, in the other all read the streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.ingest_lake import TYPES, IngestLake, at, make_lake
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.config.models import Stream
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import COHORT
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import stream_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ONE, TWO = "exp_checkout_button_001", "exp_add_cart_002"
METRICS = {
    ONE: ("conversion", "revenue", "latency", "latency_p90", "revenue_per_session", "retention_week_2"),
    TWO: ("conversion", "refunds"),
}
START = at("2026-01-05T00:00:00")
LOGS = ("assignments", "exposures")
COMPUTED = ("build_assignments", "validate_exposures", "build_unit_outcomes", "aggregate_metrics")
ANSWERS = tuple(table for stage in COMPUTED for table in BY_NAME[stage].publishes)
Row = tuple[Any, ...]


@dataclass
class Both:
    """Two lakes with equal experiments over equal files, as copies and as streams."""

    copies: IngestLake
    streamed: IngestLake
    files: Path  # where the streams' files are
    lines: list[str] = field(default_factory=list)

    def write(self, dataset: str, rows: Mapping[str, Sequence[Row]], name: str = "a.parquet") -> None:
        """Write the rows of each experiment into one file of the stream, and into the folders of the copies.

        A copy of outcomes or attributes holds the events of all users, as the stream does.
        """
        logged = dataset in LOGS
        columns = ({"experiment_id": pa.string()} if logged else {}) | {"user_id": pa.string()} | TYPES[dataset]
        everything = [((one, *row) if logged else row) for one, found in rows.items() for row in found]
        _write(self.files / dataset / name, columns, everything)
        for one in (ONE, TWO):
            mine = list(rows.get(one, ())) if logged else everything
            types = {"experiment_id": pa.string(), "user_id": pa.string()} | TYPES[dataset]
            folder = Path(self.copies.project.raw_folder(one)) / dataset / "dt=2026-01-05"
            _write(folder / name, types, [(one, *row) for row in mine])

    def remove(self, dataset: str, name: str) -> None:
        """Delete a file of the stream and of the copies."""
        (self.files / dataset / name).unlink()
        for one in (ONE, TWO):
            (Path(self.copies.project.raw_folder(one)) / dataset / "dt=2026-01-05" / name).unlink()

    def ingest(self, stream: str, run_id: str, dt: date, **options: Any) -> None:
        """Run `ingest_streams` for one stream."""
        run = stream_run(self.streamed.project, stream, dt, run_id, **options)
        run_stage(run, INGEST_STREAMS, session=Session.given(self.streamed.spark), say=self.lines.append)

    def answers(self, lake: IngestLake, experiment_id: str, run_id: str, dt: date) -> dict[str, list[str]]:
        """Run ingest and J1 to J5 of an experiment; the answer columns of what they published.

        The copies are not audited: the rows of the streams are, and must equal theirs.
        """
        claim(lake.project, experiment_id, run_id, dt, "test")
        for name in ("sync_registry", "ingest_events", *COMPUTED):
            if lake is self.copies:
                with opened(lake.project, experiment_id, dt, run_id, BY_NAME[name], spark=lake.spark) as ctx:
                    BY_NAME[name].run(ctx)
            else:
                run = Run(lake.project, experiment_id, dt, run_id)
                run_stage(run, BY_NAME[name], session=Session.given(lake.spark), say=self.lines.append)
        return {table: rows_of(lake, table, experiment_id) for table in ANSWERS}

    def same(self, run_id: str, dt: date, experiments: Sequence[str] = (ONE, TWO)) -> None:
        """Both lakes say the same of each experiment as of a day."""
        for one in experiments:
            expected = self.answers(self.copies, one, run_id, dt)
            said = self.answers(self.streamed, one, run_id, dt)
            assert expected[COHORT], f"nobody is in {one}"
            for table in ANSWERS:
                assert said[table] == expected[table], (one, table)


def rows_of(lake: IngestLake, table: str, experiment_id: str) -> list[str]:
    """The answer columns of an experiment's rows, sorted; the configuration's hash names the streams, so it is left."""
    columns = [column for column in TABLES[table].answer_columns if column != "config_hash"]
    frame = lake.spark.table(f"iceberg.{table}").where(f"experiment_id = '{experiment_id}'").select(*columns)
    return sorted(map(repr, frame.toArrow().to_pylist(maps_as_pydicts="strict")))


def make_both(spark: SparkSession, folder: Path, streams: Mapping[str, Sequence[str]]) -> Both:
    """Two empty lakes; in the second both experiments read the datasets of `streams` from streams of those names."""
    copies, streamed = (with_few_metrics(make_lake(spark, folder / name)) for name in ("copies", "streams"))
    files = folder / "files"
    return Both(copies, replace(streamed, project=with_streams(streamed, files, streams)), files)


def with_few_metrics(lake: IngestLake) -> IngestLake:
    """The lake whose two experiments have a metric of each type, and one dimension each."""
    known = lake.project.experiments
    few = {
        one: known[one].model_copy(
            update={"metrics": metrics, "guardrails": (), "dimensions": known[one].dimensions[:1]}
        )
        for one, metrics in METRICS.items()
    }
    return replace(lake, project=replace(lake.project, experiments=known | few))


def with_streams(
    lake: IngestLake,
    files: Path,
    streams: Mapping[str, Sequence[str]],
    experiment_ids: Sequence[str] = (ONE, TWO),
    **changes: Any,
) -> Project:
    """The lake's project with a stream for each dataset, which the experiments read."""
    project = lake.project
    known = {
        name: Stream.model_validate(
            {
                "name": name,
                "kind": dataset,
                "owner": "data",
                "source": {"format": "parquet", "location": str(files / dataset)},
                "delivers": delivered(project, dataset, experiment_ids),
            }
            | changes
        )
        for dataset, names in streams.items()
        for name in names
    }
    read = {dataset: tuple(names) for dataset, names in streams.items()}
    experiments = {
        one: project.experiments[one].model_copy(update={"streams": read, "sources": {}}) for one in experiment_ids
    }
    return replace(project, streams=known, experiments=project.experiments | experiments)


def delivered(project: Project, dataset: str, experiment_ids: Sequence[str] = (ONE, TWO)) -> list[str]:
    """All sources of the metrics, or all dimensions, that the experiments read."""
    if dataset == "attributes":
        return sorted({name for one in experiment_ids for name in project.experiments[one].attributes_read} | {"other"})
    if dataset != "outcomes":
        return []
    metrics = [metric for one in experiment_ids for metric in project.metrics_of(project.experiments[one])]
    named = [*metrics, *(covariate for metric in metrics for covariate in metric.covariate_metrics)]
    return sorted({source for metric in named for source in metric.sources} | {"never_read"})


def random_rows(
    random: Random,
    project: Project,
    dataset: str,
    many: int,
    first: int,
    last: int,
    experiment_ids: Sequence[str] = (ONE, TWO),
) -> dict[str, list[Row]]:
    """Rows of experiments on the days from `first` to `last` since the start; a user may be in one, several or none."""
    found: dict[str, list[Row]] = {one: [] for one in experiment_ids}
    names = delivered(project, dataset, experiment_ids)
    for _ in range(many):
        one, number = random.choice(experiment_ids), random.randrange(60)
        time = START + timedelta(days=random.randrange(first, last), microseconds=random.randrange(86_400_000_000))
        arms = [variant.id for variant in project.experiments[one].live_variants]
        arm = arms[(number + (random.random() < 0.03)) % len(arms)]
        user = f"u{number}"
        if dataset in LOGS:
            found[one].append((user, arm, time, "user"))
        elif dataset == "outcomes":
            value = random.choice([0.0, 1.0, random.random() * 100])
            found[one].append((user, random.choice(names), value, time))
        else:
            found[one].append((user, random.choice(names), random.choice(["DE", "FR"]), time))
    return found


def day(number: int) -> date:
    """A day since the start."""
    return (START + timedelta(days=number)).date()


def _write(path: Path, columns: Mapping[str, pa.DataType], rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(columns.items())}
    pq.write_table(pa.table(arrays), path)


def with_limit(project: Project, limit: float) -> Project:
    """The project with another tolerance for bad rows."""
    contracts = project.profile.contracts.model_copy(update={"max_bad_fraction": limit})
    return replace(project, profile=project.profile.model_copy(update={"contracts": contracts}))
