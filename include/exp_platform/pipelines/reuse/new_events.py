"""The events that this run sees and an earlier run did not: they landed since, or lie between the two cut-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from exp_platform.lake.changes import read_appended, untouched
from exp_platform.lake.rows import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import OUTCOMES
from exp_platform.pipelines.reader import Reader
from exp_platform.pipelines.reuse.answer import Previous
from exp_platform.pipelines.run import Run
from exp_platform.schemas import DATASETS, event_time_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A run sees the events of these tables that have landed by now and lie before its cut-off.
EVENT_TIMES = {f"exp.{dataset}": event_time_column(dataset) for dataset in DATASETS}


def sees_new_events(read: Reader, run: Run, previous: Previous, table: str) -> bool:
    """True when this run sees an event of the table that the earlier run did not see.

    Without a new file only events between the two cut-offs can be new, and PyIceberg finds those without a session.
    """
    stored = read.stored_in(table)
    since, until = int(previous.inputs[stored]), read.snapshot_of(table)
    if not untouched(read.handles[stored], read.owners_of(table), since, until):
        return not newly_seen(read, run, previous, table).isEmpty()
    if run.cutoff <= previous.cutoff:
        return False
    time = EVENT_TIMES[table]
    between = And(
        read.row_filter(table),
        GreaterThanOrEqual(time, previous.cutoff.isoformat()),
        LessThan(time, run.cutoff.isoformat()),
    )
    found = read.handles[stored].scan(row_filter=between, selected_fields=(time,), snapshot_id=until, limit=1)
    return bool(found.to_arrow().num_rows)


def appended(read: Reader, run: Run, previous: Previous, table: str = OUTCOMES) -> DataFrame:
    """The rows of an event table in files that were appended since the earlier run."""
    since, until = int(previous.inputs[read.stored_in(table)]), read.snapshot_of(table)
    if view := run.stream_views.get(table):
        return view.appended(read.session(), since, until)
    return read_appended(read.session(), TABLES[table], run.experiment_id, since, until)


def newly_seen(read: Reader, run: Run, previous: Previous, table: str = OUTCOMES) -> DataFrame:
    """The events that this run sees and the earlier run did not see."""
    from pyspark.sql import functions as F

    time = F.col(EVENT_TIMES[table])
    seen = time < F.lit(run.cutoff)
    new = appended(read, run, previous, table).where(seen)
    if run.cutoff <= previous.cutoff:
        return new
    then = int(previous.inputs[read.stored_in(table)])
    if view := run.stream_views.get(table):
        landed = view.frame(read.session(), then)
    else:
        landed = read_spark(read.session(), TABLES[table], then, {"experiment_id": run.experiment_id})
    return new.unionByName(landed.where((time >= F.lit(previous.cutoff)) & seen))
