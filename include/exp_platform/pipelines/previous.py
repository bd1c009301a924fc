"""What an earlier run left in a table, whether this run may build on it, and which events have come since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from exp_platform.lake.audit import Scope
from exp_platform.lake.changes import only_appended, read_appended
from exp_platform.lake.publish import MAIN, last_publication
from exp_platform.lake.read import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.dates import cutoff

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext

OUTCOMES = "exp.outcomes"


@dataclass(frozen=True)
class Previous:
    """The rows that an earlier run left, and what it had read."""

    snapshot_id: int
    inputs: Mapping[str, Any]  # table -> snapshot id
    notes: Mapping[str, Any]  # what else it said of its rows
    dt: date

    @property
    def cutoff(self) -> datetime:
        """Events from this instant on it had not seen."""
        return cutoff(self.dt)

    @property
    def outcomes_snapshot(self) -> int:
        """The events that it had seen."""
        return int(self.inputs[OUTCOMES])


def previous_publication(ctx: StageContext, table: str) -> tuple[Previous | None, str]:
    """The published rows that this run may add new events to, or why it may not."""
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
    inputs, before = json.loads(said.get("inputs", "{}")), date.fromisoformat(said["dt"])
    if OUTCOMES not in inputs or before > ctx.dt:
        return None, f"the rows there are those of dt {before}"
    if not only_appended(ctx.handles[OUTCOMES], ctx.experiment_id, inputs[OUTCOMES], ctx.snapshot_of(OUTCOMES)):
        return None, "outcomes were re-stated since the last run"
    return Previous(last.snapshot_id, inputs, json.loads(said.get("notes", "{}")), before), ""


def appended_outcomes(ctx: StageContext, previous: Previous) -> DataFrame:
    """The rows of exp.outcomes in files that have come since."""
    now = ctx.snapshot_of(OUTCOMES)
    return read_appended(ctx.spark, TABLES[OUTCOMES], ctx.experiment_id, previous.outcomes_snapshot, now)


def newly_seen_outcomes(ctx: StageContext, previous: Previous) -> DataFrame:
    """The events that this run sees and the earlier one did not: by file, and by the later cut-off."""
    from pyspark.sql import functions as F

    seen = F.col("outcome_ts") < F.lit(ctx.cutoff)
    new = appended_outcomes(ctx, previous).where(seen)
    if ctx.cutoff <= previous.cutoff:
        return new
    key = {"experiment_id": ctx.experiment_id}
    landed = read_spark(ctx.spark, TABLES[OUTCOMES], previous.outcomes_snapshot, key)
    return new.unionByName(landed.where((F.col("outcome_ts") >= F.lit(previous.cutoff)) & seen))
