"""What an earlier run left in a table, whether this run may build on it or keep it, and what has come since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from exp_platform.lake.audit import Scope
from exp_platform.lake.changes import only_appended, read_appended, untouched
from exp_platform.lake.publish import MAIN, last_publication, notes_of, publication_seen_at
from exp_platform.lake.read import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.dates import cutoff
from exp_platform.schemas import DATASETS, event_time_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.view import StageView

OUTCOMES = "exp.outcomes"
# A run sees the events of these tables that have landed by now and lie before its cut-off.
EVENT_TIMES = {f"exp.{dataset}": event_time_column(dataset) for dataset in DATASETS}


@dataclass(frozen=True)
class Previous:
    """The rows that an earlier run left, and what it had read."""

    snapshot_id: int
    rows: int
    run_id: str
    inputs: Mapping[str, Any]  # table -> snapshot id
    notes: Mapping[str, Any]  # what else it said of its rows
    dt: date

    @property
    def cutoff(self) -> datetime:
        """Events from this instant on it had not seen."""
        return cutoff(self.dt)


def previous_publication(ctx: StageView, table: str) -> tuple[Previous | None, str]:
    """The published rows of the same configuration and code, or why there are none that this run may look at."""
    if ctx.options.get("full_refresh"):
        return None, "full refresh asked for"
    if ctx.branch != MAIN:
        return None, "a run with an older dt"
    last = last_publication(ctx.handles[table], TABLES[table], Scope(ctx.experiment_id, ctx.dt))
    if last is None or last.summary is None:
        return None, "nothing published before"
    said = last.summary.additional_properties
    if said.get("config_hash") != ctx.config_hash or said.get("code_version") != ctx.code_version:
        return None, "configuration or code has changed"
    before = date.fromisoformat(said["dt"])
    if before > ctx.dt:
        return None, f"the rows there are those of dt {before}"
    inputs = json.loads(said.get("inputs", "{}"))
    return Previous(last.snapshot_id, int(said["rows"]), said["run_id"], inputs, notes_of(last), before), ""


def previous_outcomes(ctx: StageView, table: str) -> tuple[Previous | None, str]:
    """The same of rows that this run may add new outcome events to."""
    previous, reason = previous_publication(ctx, table)
    if previous is None:
        return None, reason
    if OUTCOMES not in previous.inputs:
        return None, "the rows there do not say which outcomes they were made of"
    if not only_appended(
        ctx.handles[OUTCOMES], ctx.experiment_id, previous.inputs[OUTCOMES], ctx.snapshot_of(OUTCOMES)
    ):
        return None, "outcomes were re-stated since the last run"
    return previous, ""


def without_new_events(ctx: StageView, table: str) -> Previous | None:
    """The rows that an earlier run left, if nothing that this stage has read so far shows it more than that run saw.

    For tables that depend on the day only through the events that it sees.
    """
    previous, _ = previous_publication(ctx, table)
    if previous is None:
        return None
    now = ctx.manifest.inputs(ctx.outputs)
    if previous.inputs.keys() != now.keys():
        return None
    events = EVENT_TIMES.keys() & now.keys()
    for name in now.keys() - events:
        if not untouched(ctx.handles[name], ctx.experiment_id, previous.inputs[name], now[name]):
            return None
    for name in events:
        if not only_appended(ctx.handles[name], ctx.experiment_id, previous.inputs[name], now[name]):
            return None
        if not newly_seen(ctx, previous, name).isEmpty():
            return None
    return previous


def notes_at(ctx: StageView, table: str, snapshot_id: int) -> Mapping[str, Any]:
    """What the publication whose rows a snapshot shows said of them; nothing where it has been expired."""
    scope = Scope(ctx.experiment_id, ctx.dt)
    return notes_of(publication_seen_at(ctx.handles[table], TABLES[table], scope, snapshot_id))


def appended(ctx: StageView, previous: Previous, table: str = OUTCOMES) -> DataFrame:
    """The rows of an event table in files that have come since."""
    since, now = int(previous.inputs[table]), ctx.snapshot_of(table)
    return read_appended(ctx.spark, TABLES[table], ctx.experiment_id, since, now)


def newly_seen(ctx: StageView, previous: Previous, table: str = OUTCOMES) -> DataFrame:
    """The events that this run sees and the earlier one did not: by file, and by the later cut-off."""
    from pyspark.sql import functions as F

    time = F.col(EVENT_TIMES[table])
    seen = time < F.lit(ctx.cutoff)
    new = appended(ctx, previous, table).where(seen)
    if ctx.cutoff <= previous.cutoff:
        return new
    key = {"experiment_id": ctx.experiment_id}
    landed = read_spark(ctx.spark, TABLES[table], int(previous.inputs[table]), key)
    return new.unionByName(landed.where((time >= F.lit(previous.cutoff)) & seen))
