"""A scratch lake in which a past run, or one that never was, is computed by the ordinary stages."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.expressions import And, LessThan, NotEqualTo

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.ingest import repeats
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.catalog_properties import on_the_store
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.raw_zone import filesystem
from exp_platform.lake.rows import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, SEALED_PLAN, SECOND_OPINIONS
from exp_platform.ledger.pins import PINNED_TABLES
from exp_platform.ledger.seals import seal_rows
from exp_platform.ledger.second_opinions import opinion_rows
from exp_platform.operations.past_run import PastRun
from exp_platform.pipelines.context import open_stage
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME, INGEST_STREAMS, STAGES
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import stream_run
from exp_platform.spark.catalog_settings import spark_catalog_conf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from exp_platform.pipelines.context import StageContext

Log = Callable[[str], None]
Events = Mapping[str, "DataFrame"]  # table of the real lake -> the events that the run is to read
_NOT_RERUN = frozenset({"generate_events", "ingest_events", "write_memo"})


@contextmanager
def scratch_lake(project: Project, label: str) -> Iterator[Project]:
    """A temporary lake: in a local folder, or on the object store beside the warehouse, where executors reach it."""
    folder = Path(tempfile.mkdtemp(prefix="exp_reproduce_"))
    warehouse = str(folder / "warehouse")
    if on_the_store(project):
        name = hashlib.sha256(f"{label}{folder}".encode()).hexdigest()[:12]
        warehouse = f"{beside(project)}/{name}"
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


def beside(project: Project) -> str:
    """The place of scratch lakes on the object store: outside of every table's folder, in a bucket that exists."""
    settings = project.profile.catalog
    if settings.scratch:
        return settings.scratch.rstrip("/")
    if settings.names_its_warehouse:
        raise ConfigError(
            f"catalog.scratch: missing; the warehouse {settings.warehouse!r} is a name, beside which nothing can be "
            "written: give a place on the object store, such as s3://bucket/scratch"
        )
    warehouse = settings.warehouse.rstrip("/")
    is_a_bucket = "/" not in warehouse.partition("://")[2]
    return f"{warehouse}/_reproduce" if is_a_bucket else f"{warehouse}_reproduce"


def session_on(spark: SparkSession, project: Project) -> SparkSession:
    """A new session of the same Spark application, with the project's lake behind the catalog name `iceberg`."""
    session = spark.newSession()
    for key, value in spark_catalog_conf(project).items():
        session.conf.set(key, value)
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return session


def pinned_events(there: SparkSession, past: PastRun, *runs: Run) -> dict[str, DataFrame]:
    """The events that a past run read, by the table that holds them; of streams what any of `runs` can see."""
    found = {}
    for name in PINNED_TABLES:
        pinned = past.pins.of(name)
        if pinned is not None and not TABLES[name].of_streams:
            found[name] = read_spark(there, TABLES[name], pinned, {"experiment_id": past.experiment_id})
    for name in dict.fromkeys(view.table.name for run in runs for view in run.stream_views.values()):
        pinned = past.pins.of(name)
        if pinned is not None:
            views = [view for run in runs for view in run.stream_views.values() if view.table.name == name]
            seen = reduce(lambda a, b: a | b, (view.condition() for view in views))
            found[name] = read_spark(there, TABLES[name], pinned, {}).where(seen)
    return found


def compute(run: Run, past: PastRun, there: Project, here: SparkSession, events: Events, say: Log) -> None:
    """Fill the scratch lake of `run` with these events and with what `past` saw of others, and run its stages."""
    _copy_events(events, here, run, past, there, say)
    _copy_other_results(there, run.project, past)
    _copy_seals(there, run.project, past)
    _copy_second_opinions(there, run.project, past)
    for stage in STAGES:
        if stage.name in past.stages - _NOT_RERUN:
            run_stage(run, stage, session=Session.given(here), now=past.at, say=say)


def _copy_events(events: Events, here: SparkSession, run: Run, past: PastRun, there: Project, say: Log) -> None:
    """Copy events to the scratch lake, as Parquet files, because a frame belongs to one session."""
    scratch = run.project
    exchange = scratch.resolve(scratch.profile.catalog.warehouse).replace("s3://", "s3a://") + "_exchange"
    with open_stage(run, BY_NAME["ingest_events"], session=Session.given(here), now=past.at, say=say) as ctx:
        for table, frame in events.items():
            if not TABLES[table].of_streams:
                frame.write.mode("overwrite").parquet(f"{exchange}/{table}")
                _publish(ctx, table, here.read.parquet(f"{exchange}/{table}"), past, there)
    _copy_stream_events(events, here, run, past, there, say, exchange)
    files, path = filesystem(scratch, exchange)
    if files.get_file_info(path).type.name == "Directory":
        files.delete_dir(path)


def _copy_stream_events(
    events: Events, here: SparkSession, run: Run, past: PastRun, there: Project, say: Log, exchange: str
) -> None:
    """Copy the rows of streams, stream by stream, as the streams' own runs publish them."""
    for view in run.stream_views.values():
        table, seen = view.table, events.get(view.table.name)
        if seen is None:
            continue
        for name in view.streams:
            place = f"{exchange}/{table.name}/{name}"
            seen.where(seen["stream"] == name).write.mode("overwrite").parquet(place)
            stream = stream_run(run.project, name, run.dt, run.run_id)
            with open_stage(stream, INGEST_STREAMS, session=Session.given(here), now=past.at, say=say) as ctx:
                _publish(ctx, table.name, here.read.schema(seen.schema).parquet(place), past, there)


def _publish(ctx: StageContext, table: str, frame: DataFrame, past: PastRun, there: Project) -> None:
    """Publish events with the counts of repeated rows that they have in the real lake, which a check of J7 reads."""
    pinned = past.pins.of(table)
    assert pinned is not None, f"{past.run_id} has events of {table} without a pin"
    told = repeats.published_with(load_handle(there, table), TABLES[table], ctx.run.scope, pinned)
    properties = {repeats.PROPERTY: told} if told is not None else {}
    ctx.publish.all_or_none([(ctx.publish.write_unseen(table, frame), "overwrite", {}, properties)])


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
