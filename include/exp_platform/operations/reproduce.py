"""Reproduce a past run in a scratch lake, from the event snapshots that it pinned, and compare every answer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import fence_of
from exp_platform.lake.rows import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DIM_EXPERIMENT, DIM_EXPERIMENT_VARIANT, EXPERIMENT_REGISTRY
from exp_platform.ledger.pins import PINNED_TABLES
from exp_platform.operations.fingerprints import TableComparison, compare, fingerprint
from exp_platform.operations.past_run import (
    PastRun,
    find_past_run,
    project_of,
    reading_as,
    require_events,
)
from exp_platform.operations.scratch import Log, compute, pinned_events, scratch_lake, session_on
from exp_platform.pipelines.run import Run
from exp_platform.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
    with tempfile.TemporaryDirectory(prefix="exp_configuration_") as folder:
        configured, notes = configuration_of(project, run, Path(folder))
        configured = reading_as(configured, run)
        require_events(project, run)
        if spark is None:
            from exp_platform.spark.session import build_spark_session

            spark = build_spark_session(f"reproduce {run_id}", project)
        with scratch_lake(configured, run.run_id) as scratch:
            there, here = session_on(spark, project), session_on(spark, scratch)
            again = Run(scratch, run.experiment_id, run.dt, run.run_id, started_by="exp reproduce")
            compute(again, run, project, here, pinned_events(there, run, again), log)
            tables = tuple(_compare(project, there, scratch, here, name, run) for name in _published_tables(run))
    return Reproduction(run, tables, notes)


def configuration_of(project: Project, run: PastRun, folder: Path | None = None) -> tuple[Project, tuple[str, ...]]:
    """The project as the run had it, as far as that is known, and notes on changes of code and configuration since.

    Without a folder only the analysis mode is looked for, not the configuration that the lake has kept.
    """
    notes = []
    if run.code_version != code_version():
        notes.append(f"the code has changed since: {run.code_version} then, {code_version()} now")
    then = project_of(project, run, folder)
    if then is None:
        notes.append(f"the configuration of {run.experiment_id} has changed since (config_hash was {run.config_hash})")
        return project, tuple(notes)
    today = project.experiments.get(run.experiment_id)
    mode = then.experiment(run.experiment_id).analysis_mode
    if today is not None and project.config_hash(today.model_copy(update={"analysis_mode": mode})) == run.config_hash:
        if mode != today.analysis_mode:
            notes.append(f"the run had analysis_mode {mode}, and so has this one")
    else:
        notes.append(
            f"the configuration of {run.experiment_id} has changed since; this is computed by that of the run, which "
            "ops.configurations has kept"
        )
    return then, tuple(notes)


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
