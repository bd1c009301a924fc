"""J4: who is analysed, and the metrics of each of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from exp_platform.lake.audit import Scope
from exp_platform.lake.changes import only_appended, read_appended
from exp_platform.lake.publish import MAIN, last_publication
from exp_platform.lake.read import read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.dates import cutoff
from exp_platform.transforms.cohort import experiment_cohort, without_dimensions
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.unit_outcomes import outcomes_from_partials, unit_outcomes
from exp_platform.transforms.unit_partials import Layout, has_far_values, seen_events, unit_windows
from exp_platform.transforms.unit_state import fresh_units, since, updated_partials

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext

COHORT = "gold.fct_experiment_cohort"
UNIT_OUTCOMES = "gold.fct_experiment_unit_outcomes"
OUTCOMES = "exp.outcomes"


@dataclass(frozen=True)
class Previous:
    """The rows that an earlier run left, and what it had seen."""

    outcomes_snapshot: int
    cutoff: datetime


def run(ctx: StageContext) -> None:
    """Read assignments, exposures and outcomes; publish the cohort, then one row of metrics per included user."""
    experiment = ctx.experiment
    cohort = experiment_cohort(
        ctx.read("silver.fact_assignment_canonical"),
        ctx.read("silver.int_experiment_exposure_validation"),
        analysis_mode=experiment.analysis_mode,
        attributes=ctx.read("exp.attributes") if experiment.dimensions else None,
        dimensions=experiment.dimensions,
    )
    ctx.publish_large(COHORT, cohort)
    outcomes, cohort = ctx.read(OUTCOMES), ctx.read(COHORT)
    if ctx.already_published(UNIT_OUTCOMES):
        return
    if not experiment.dimensions:
        cohort = without_dimensions(cohort)
    far = has_far_values(outcomes)
    previous, reason = previous_rows(ctx, far)
    if previous is None:
        ctx.log(f"units from all events: {reason}")
        units = unit_outcomes(
            cohort,
            outcomes,
            ctx.metrics,
            end_ts=experiment.end_ts,
            cutoff=ctx.cutoff,
            far=far,
            join=join_for(ctx.rows_read(COHORT)),
        )
    else:
        units = updated_units(ctx, cohort, outcomes, previous)
    ctx.publish_large(UNIT_OUTCOMES, units)


def previous_rows(ctx: StageContext, far: bool) -> tuple[Previous | None, str]:
    """The published rows that this run may add new events to, or why it may not."""
    if ctx.options.get("full_refresh"):
        return None, "full refresh asked for"
    if ctx.branch != MAIN:
        return None, "a run with an older dt"
    if far:
        return None, "some values are too large for mergeable sums"
    last = last_publication(ctx.handles[UNIT_OUTCOMES], TABLES[UNIT_OUTCOMES], Scope(ctx.experiment_id, ctx.dt))
    if last is None or last.summary is None:
        return None, "nothing published before"
    said = last.summary.additional_properties
    if said.get("config_hash") != ctx.config_hash or said.get("code_version") != ctx.code_version:
        return None, "configuration or code has changed"
    seen, before = json.loads(said.get("inputs", "{}")).get(OUTCOMES), date.fromisoformat(said["dt"])
    if seen is None or before > ctx.dt:
        return None, f"the rows there are those of dt {before}"
    if not only_appended(ctx.handles[OUTCOMES], ctx.experiment_id, seen, ctx.snapshot_of(OUTCOMES)):
        return None, "outcomes were re-stated since the last run"
    return Previous(seen, cutoff(before)), ""


def updated_units(ctx: StageContext, cohort: DataFrame, outcomes: DataFrame, previous: Previous) -> DataFrame:
    """The unit rows from the previous ones and from what has come since: by file, and by the later cut-off."""
    end_ts = ctx.experiment.end_ts
    layout = Layout.of(ctx.metrics, end_ts)
    sources = layout.sources
    units, windows = ctx.read(UNIT_OUTCOMES), unit_windows(cohort)
    fresh = fresh_units(windows, units, layout)
    now = ctx.snapshot_of(OUTCOMES)
    appended = read_appended(ctx.spark, TABLES[OUTCOMES], ctx.experiment_id, previous.outcomes_snapshot, now)
    new = seen_events(appended, sources, ctx.cutoff)
    if ctx.cutoff > previous.cutoff:
        key = {"experiment_id": ctx.experiment_id}
        landed = read_spark(ctx.spark, TABLES[OUTCOMES], previous.outcomes_snapshot, key)
        new = new.unionByName(seen_events(landed.where(F.col("outcome_ts") >= previous.cutoff), sources, ctx.cutoff))
    ctx.log(f"units from the rows of {previous.cutoff:%Y-%m-%d} and the new events; {fresh.units:,} units are new")
    history = seen_events(since(outcomes, fresh.first_event_us), sources, ctx.cutoff)
    partials = updated_partials(windows, units, new, history, fresh, layout)
    return outcomes_from_partials(cohort, partials, ctx.metrics, layout, end_ts=end_ts, cutoff=ctx.cutoff)
