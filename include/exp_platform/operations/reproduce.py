"""Reproduce a past run in a scratch lake, from the event snapshots that it pinned, and compare every answer."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import And, LessThan, NotEqualTo

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.publication import fence_of
from exp_platform.lake.raw_zone import filesystem
from exp_platform.lake.read import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    DIM_EXPERIMENT,
    DIM_EXPERIMENT_VARIANT,
    EXPERIMENT_REGISTRY,
    RUN_MANIFEST,
    SEALED_PLAN,
    SECOND_OPINIONS,
)
from exp_platform.ledger import manifest
from exp_platform.ledger.pins import PINNED_TABLES
from exp_platform.ledger.seals import seal_rows
from exp_platform.ledger.second_opinions import opinion_rows
from exp_platform.operations.compare import TableComparison, compare, fingerprint
from exp_platform.pipelines.context import open_stage
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS, STAGES
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.session import Session
from exp_platform.pipelines.stream_run import stream_run
from exp_platform.spark.catalog import spark_catalog_conf
from exp_platform.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Log = Callable[[str], None]
_NOT_RERUN = frozenset({"generate_events", "ingest_events", "write_memo"})


@dataclass(frozen=True)
class PastRun:
    """A past run as ops.run_manifest records it."""

    run_id: str
    experiment_id: str
    dt: date
    config_hash: str
    code_version: str
    at: datetime
    pins: manifest.Pins
    stages: frozenset[str]  # names of the stages that the run started


@dataclass(frozen=True)
class Reproduction:
    """The comparison of every table of a run; `notes` name changes of code and configuration since."""

    run: PastRun
    tables: tuple[TableComparison, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """True when at least one table can still be compared, and all such tables agree."""
        compared = [table for table in self.tables if table.compared]
        return bool(compared) and all(table.same for table in compared)

    def text(self) -> str:
        """The reproduction as text for a terminal: a line for each table, then the differences."""
        run = self.run
        lines = [f"run {run.run_id}: {run.experiment_id} as of {run.dt}, computed again from the snapshots it pinned"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [line for table in self.tables for line in table.lines()]
        compared = sum(table.compared for table in self.tables)
        differing = sum(table.compared and not table.same for table in self.tables)
        verdict = "every number agrees" if self.same else f"{differing} of {compared} tables differ"
        return "\n".join([*lines, f"{verdict} ({compared} of {len(self.tables)} tables compared)"])


def reproduce(
    project: Project, run_id: str, spark: SparkSession | None = None, log: Log = lambda _: None
) -> Reproduction:
    """Run the ordinary stages on the pinned events of a past run; the real lake is only read."""
    run = find_past_run(project, run_id)
    configured, notes = configuration_of(project, run)
    configured = _reading_as(configured, run)
    _require_events(project, run)
    if spark is None:
        from exp_platform.spark.session import build_spark_session

        spark = build_spark_session(f"reproduce {run_id}", project)
    with _scratch(configured, run) as scratch:
        there = _session(spark, project)
        here = _session(spark, scratch)
        again = Run(scratch, run.experiment_id, run.dt, run.run_id, started_by="exp reproduce")
        _copy_events(there, here, again, run, log)
        _copy_other_results(project, scratch, run)
        _copy_seals(project, scratch, run)
        _copy_second_opinions(project, scratch, run)
        for stage in STAGES:
            if stage.name in run.stages - _NOT_RERUN:
                run_stage(again, stage, session=Session.given(here), now=run.at, say=log)
        tables = tuple(_compare(project, there, scratch, here, name, run) for name in _published_tables(run))
    return Reproduction(run, tables, notes)


def find_past_run(project: Project, run_id: str) -> PastRun:
    """The run as ops.run_manifest records it; an unknown run is an error that names the latest runs."""
    rows = manifest.find_run(project, run_id)
    if not rows:
        latest = {row["run_id"]: row["at"] for row in _all_rows(project)}
        known = sorted(latest, key=lambda name: latest[name], reverse=True)[:5]
        raise ConfigError(f"run '{run_id}' is not in ops.run_manifest; the latest runs: {', '.join(known) or 'none'}")
    last = rows[-1]
    return PastRun(
        run_id,
        last["experiment_id"],
        last["dt"],
        last["config_hash"],
        last["code_version"],
        last["at"],
        manifest.pins_of(rows),
        frozenset(row["stage"] for row in rows),
    )


def _all_rows(project: Project) -> list[dict[str, Any]]:
    found = load_handle(project, RUN_MANIFEST).scan(selected_fields=("run_id", "at")).to_arrow()
    return list(found.to_pylist())


def configuration_of(project: Project, run: PastRun) -> tuple[Project, tuple[str, ...]]:
    """The project in the run's analysis mode, and notes on changes of code and configuration since."""
    notes = []
    if run.code_version != code_version():
        notes.append(f"the code has changed since: {run.code_version} then, {code_version()} now")
    for mode in (None, "itt", "exposed"):
        candidate = project.with_analysis_mode(run.experiment_id, mode)
        if candidate.config_hash(candidate.experiment(run.experiment_id)) == run.config_hash:
            if mode is not None and mode != project.experiment(run.experiment_id).analysis_mode:
                notes.append(f"the run had analysis_mode {mode}, and so has this one")
            return candidate, tuple(notes)
    notes.append(f"the configuration of {run.experiment_id} has changed since (config_hash was {run.config_hash})")
    return project, tuple(notes)


def _reading_as(project: Project, run: PastRun) -> Project:
    """The project with the experiment reading its own events where the run did; it may have moved since."""
    experiment = project.experiment(run.experiment_id)
    kept = {
        dataset: names
        for dataset, names in experiment.streams.items()
        if run.pins.of(f"exp.stream_{dataset}") is not None or run.pins.of(f"exp.{dataset}") is None
    }
    if kept == experiment.streams:
        return project
    changed = experiment.model_copy(update={"streams": kept})
    return replace(project, experiments=project.experiments | {run.experiment_id: changed})


def _require_events(project: Project, run: PastRun) -> None:
    missing = [
        table
        for table in PINNED_TABLES
        if (pinned := run.pins.of(table)) and load_handle(project, table).snapshot_by_id(pinned) is None
    ]
    if missing or not any(run.pins.of(table) for table in PINNED_TABLES):
        raise ConfigError(
            f"run '{run.run_id}' can't be computed again: the snapshots of its events are gone "
            f"({', '.join(missing) or 'it never read any'}). They are kept for pins.retain_days = "
            f"{project.profile.pins.retain_days} days after a run has published its decision"
        )


@contextmanager
def _scratch(project: Project, run: PastRun) -> Iterator[Project]:
    """A temporary lake: in a local folder, or on the object store beside the warehouse, where executors reach it."""
    folder = Path(tempfile.mkdtemp(prefix="exp_reproduce_"))
    warehouse = str(folder / "warehouse")
    if project.profile.object_store is not None:
        name = hashlib.sha256(f"{run.run_id}{folder}".encode()).hexdigest()[:12]
        warehouse = f"{project.profile.catalog.warehouse.rstrip('/')}_reproduce/{name}"
    catalog = project.profile.catalog.model_copy(
        update={"type": "sqlite", "uri": str(folder / "catalog.db"), "warehouse": warehouse}
    )
    profile = project.profile.model_copy(update={"catalog": catalog, "memo_dir": str(folder / "memos")})
    try:
        yield replace(project, profile=profile)
    finally:
        files, path = filesystem(project, warehouse)
        if files.get_file_info(path).type.name == "Directory":
            files.delete_dir(path)
        shutil.rmtree(folder, ignore_errors=True)


def _session(spark: SparkSession, project: Project) -> SparkSession:
    """A new session of the same Spark application, with the project's lake behind the catalog name `iceberg`."""
    session = spark.newSession()
    for key, value in spark_catalog_conf(project).items():
        session.conf.set(key, value)
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return session


def _copy_events(there: SparkSession, here: SparkSession, run: Run, past: PastRun, say: Log) -> None:
    """Copy the pinned events to the scratch lake, as Parquet files, because a frame belongs to one session."""
    scratch = run.project
    exchange = scratch.resolve(scratch.profile.catalog.warehouse).replace("s3://", "s3a://") + "_exchange"
    with open_stage(run, BY_NAME["ingest_events"], session=Session.given(here), now=past.at, say=say) as ctx:
        for table in PINNED_TABLES:
            pinned = past.pins.of(table)
            if pinned is None or TABLES[table].of_streams:
                continue
            events = read_spark(there, TABLES[table], pinned, {"experiment_id": run.experiment_id})
            events.write.mode("overwrite").parquet(f"{exchange}/{table}")
            ctx.publish(table, here.read.parquet(f"{exchange}/{table}"))
    _copy_stream_events(there, here, run, past, say, exchange)
    files, path = filesystem(scratch, exchange)
    if files.get_file_info(path).type.name == "Directory":
        files.delete_dir(path)


def _copy_stream_events(
    there: SparkSession, here: SparkSession, run: Run, past: PastRun, say: Log, exchange: str
) -> None:
    """Copy the rows of streams that the run could read, stream by stream, as the streams' own runs publish them."""
    for view in run.stream_views.values():
        table, pinned = view.table, past.pins.of(view.table.name)
        if pinned is None:
            continue
        seen = read_spark(there, table, pinned, {}).where(view.condition())
        for name in view.streams:
            place = f"{exchange}/{table.name}/{name}"
            seen.where(seen["stream"] == name).write.mode("overwrite").parquet(place)
            stream = stream_run(run.project, name, run.dt, run.run_id)
            with open_stage(stream, INGEST_STREAMS, session=Session.given(here), now=past.at, say=say) as ctx:
                ctx.publish(table.name, here.read.schema(seen.schema).parquet(place))


def _copy_other_results(project: Project, scratch: Project, run: PastRun) -> None:
    """Copy other experiments' results as the run saw them: a check of J7 compares an effect with theirs."""
    handle = load_handle(project, ANALYSIS_RESULTS)
    seen = run.pins.published.get(ANALYSIS_RESULTS)
    known = seen is not None and handle.snapshot_by_id(seen) is not None
    others = And(NotEqualTo("experiment_id", run.experiment_id), LessThan("dt", run.dt.isoformat()))
    rows = handle.scan(row_filter=others, snapshot_id=seen if known else None).to_arrow()
    if rows.num_rows:
        target = load_handle(scratch, ANALYSIS_RESULTS)
        target.append(rows.cast(target.schema().as_arrow()))


def _copy_seals(project: Project, scratch: Project, run: PastRun) -> None:
    """Copy the experiment's sealed plan as the run saw it: the plan says which interval is in force."""
    rows = [row for row in seal_rows(project, run.experiment_id) if row["sealed_at"] <= run.at]
    if rows:
        replace_rows(scratch, SEALED_PLAN, {"experiment_id": run.experiment_id}, rows)


def _copy_second_opinions(project: Project, scratch: Project, run: PastRun) -> None:
    """Copy what a second implementation had found by then: a difference costs a run its trust."""
    rows = [row for row in opinion_rows(project, run.experiment_id) if row["checked_at"] <= run.at]
    if rows:
        replace_rows(scratch, SECOND_OPINIONS, {"experiment_id": run.experiment_id}, rows)


def _published_tables(run: PastRun) -> list[str]:
    """The tables whose rows the run computed, in the order of their declarations."""
    copied = {*PINNED_TABLES, EXPERIMENT_REGISTRY, DIM_EXPERIMENT, DIM_EXPERIMENT_VARIANT}
    return [
        name for name in TABLES if name in run.pins.published and name not in copied and not name.startswith("ops.")
    ]


def _compare(
    project: Project, there: SparkSession, scratch: Project, here: SparkSession, name: str, run: PastRun
) -> TableComparison:
    table = TABLES[name]
    key = {"experiment_id": run.experiment_id} | ({"dt": run.dt} if table.has_dt else {})
    snapshot = run.pins.published[name]
    if load_handle(project, name).snapshot_by_id(snapshot) is None:
        then = _still_there(project, there, name, key, run)
        if then is None:
            return TableComparison(name, note="its rows are gone: the snapshot has expired and later runs replaced it")
    else:
        then = read_spark(there, table, snapshot, key)
    now = read_spark(here, table, fence_of(load_handle(scratch, name), "main"), key)
    return compare(table, then, now)


def _still_there(
    project: Project, there: SparkSession, name: str, key: dict[str, Any], run: PastRun
) -> DataFrame | None:
    """The run's rows in today's table, if every row there names this run; else None."""
    table = TABLES[name]
    if "run_id" not in table.columns:
        return None
    current = read_spark(there, table, fence_of(load_handle(project, name), "main"), key)
    return current if fingerprint(current.where(f"run_id <> '{run.run_id}'"), table).rows == 0 else None
