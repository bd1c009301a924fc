"""The context of a running stage: its run, its reader, its publisher, and its question of what may be reused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exp_platform.lake.catalog import load_catalog
from exp_platform.lake.handles import Handles
from exp_platform.lake.publication import MAIN
from exp_platform.lake.tables import TABLES
from exp_platform.ledger import claim, manifest
from exp_platform.pipelines.lazy_session import Session, SessionNeeded
from exp_platform.pipelines.publisher import Publisher
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.record import StageRecord
from exp_platform.pipelines.registry import FIRST, Stage
from exp_platform.pipelines.reuse.question import Question
from exp_platform.pipelines.run import Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from exp_platform.lake.row_audit import Audit

Say = Callable[[str], None]


def say_aloud(line: str) -> None:
    """Print one line without buffering: a task log is read while the stage runs."""
    print(line, flush=True)


@dataclass(frozen=True)
class StageContext:
    """One stage of one run of one experiment, from `open_stage` to the end of its `with` block."""

    run: Run
    stage: Stage
    now: datetime  # the one clock reading of the stage
    record: StageRecord
    read: Reader
    reuse: Question
    publish: Publisher
    session: Session

    @property
    def spark(self) -> SparkSession:
        """The Spark session; the first access builds it."""
        return self.session()

    @property
    def input_snapshots(self) -> str:
        """The stage's declared inputs as JSON, table -> snapshot id; fills the column `input_snapshots`."""
        inputs = {name for output in self.stage.outputs for name in self.run.inputs_of(output)}
        return json.dumps({self.read.stored_in(name): self.read.pin(name) for name in sorted(inputs)})

    def log(self, line: str) -> None:
        """Write one line to the task log."""
        self.record.log(line)


@contextmanager
def open_stage(
    run: Run,
    stage: Stage,
    *,
    session: Session | None = None,
    audit: Callable[[Reader], Audit] | None = None,
    say: Say = say_aloud,
    now: datetime | None = None,
) -> Iterator[StageContext]:
    """Check the claim, take the fences, load the run's pins; write the manifest at the end, also after an error.

    `audit` builds the audit of the stage's publications; the audit reads the tables that it compares with through
    the given reader.
    """
    project, at = run.project, now or datetime.now(UTC)
    catalog = load_catalog(project)
    handles = Handles(project, catalog, tables_at_start(run, stage))
    claim.check(project, run.experiment_id, run.run_id, catalog)
    started = time.monotonic()
    record = StageRecord.of(run, stage.name, catalog, at, say)
    session = (session or Session.of(run, stage.name)).within(stage)
    older = manifest.has_later_dt(project, run.experiment_id, run.dt, catalog)
    read = Reader(
        run,
        stage,
        record,
        catalog,
        handles,
        manifest.pins_of(manifest.run_rows(project, run.experiment_id, run.run_id, catalog)),
        branch_of_run(run.experiment_id, run.run_id) if older else MAIN,
        session,
    )
    reuse = Question(run, stage, read, record.log)
    publish = Publisher(run, stage, record, read, reuse, audit(read) if audit else None)
    try:
        yield StageContext(run, stage, at, record, read, reuse, publish, session)
    except SessionNeeded:
        raise  # the stage runs again with a session, and that attempt writes the record
    except BaseException as error:
        record.failed(error)
        raise
    record.flush()
    record.log(f"done in {time.monotonic() - started:.1f} s")


def tables_at_start(run: Run, stage: Stage) -> tuple[str, ...]:
    """The tables that a stage loads when it starts: those that it declares, events of streams by the streams' table.

    The first stage of a run loads every table: it creates what is missing and adds columns that were declared later.
    """
    if stage is FIRST or stage.of_streams:
        return tuple(TABLES)
    views = run.stream_views
    return *(views[name].table.name if name in views else name for name in stage.reads), *stage.publishes


def branch_of_run(experiment_id: str, run_id: str) -> str:
    """Name of a backfill's branch. A backfill's tables without dt must not replace the experiment's latest rows."""
    return f"backfill_{hashlib.sha256(f'{experiment_id}/{run_id}'.encode()).hexdigest()[:12]}"
