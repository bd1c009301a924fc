"""J4: who is analysed, and the metrics of each of them."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from exp_platform.lake.read import lies_as_declared, read_spark
from exp_platform.lake.staging import Part
from exp_platform.lake.tables import TABLES
from exp_platform.metrics.numbers import in_maps
from exp_platform.pipelines.previous import OUTCOMES, Previous, newly_seen_outcomes, previous_publication
from exp_platform.transforms.cohort import experiment_cohort, without_dimensions
from exp_platform.transforms.cohort_dates import (
    cohort_digests,
    dates_that_turn,
    dates_with_events,
    events_since_first_window,
    on_dates,
    other_dates,
)
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.unit_outcomes import UNIT_OUTCOMES, unit_columns
from exp_platform.transforms.unit_partials import Layout, has_far_values, seen_events

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext

COHORT = "gold.fct_experiment_cohort"


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
    far, layout = has_far_values(outcomes), Layout.of(ctx.metrics, experiment.end_ts)
    dates = changed_dates(ctx, cohort, layout)
    if dates is not None:
        cohort = cohort.where(on_dates(dates))
        outcomes = events_since_first_window(cohort, outcomes, layout)
    units = unit_columns(
        cohort,
        outcomes,
        ctx.metrics,
        end_ts=experiment.end_ts,
        cutoff=ctx.cutoff,
        far=far,
        join=join_for(ctx.rows_read(COHORT)),
    )
    ctx.publish_large(
        UNIT_OUTCOMES,
        units,
        finish=partial(in_maps, metrics=ctx.metrics),
        part=None if dates is None else Part("cohort_date", dates),
        notes={COHORT: ctx.snapshot_of(COHORT)},
    )


def changed_dates(ctx: StageContext, cohort: DataFrame, layout: Layout) -> frozenset[date] | None:
    """The cohort dates whose rows are no longer what an earlier run left; None where all are to be computed."""
    previous, reason = _previous(ctx)
    if previous is None:
        ctx.log(f"units from all events: {reason}")
        return None
    before = read_spark(ctx.spark, TABLES[COHORT], int(previous.notes[COHORT]), {"experiment_id": ctx.experiment_id})
    if not ctx.experiment.dimensions:
        before = without_dimensions(before)
    now = cohort_digests(cohort)
    appeared, changed = other_dates(cohort_digests(before), now)
    events = seen_events(newly_seen_outcomes(ctx, previous), layout.sources, ctx.cutoff)
    dates = appeared | changed | dates_with_events(cohort, events, layout, join=join_for(ctx.rows_read(COHORT)))
    dates |= dates_that_turn(now, ctx.metrics, end_ts=ctx.experiment.end_ts, before=previous.cutoff, now=ctx.cutoff)
    anew, gone = len(dates & now.keys()), len(dates - now.keys())
    ctx.log(
        f"units of {anew} of {len(now)} cohort dates anew, {gone} dates are gone; the others stay as of {previous.dt}"
    )
    return dates


def _previous(ctx: StageContext) -> tuple[Previous | None, str]:
    previous, reason = previous_publication(ctx, UNIT_OUTCOMES)
    if previous is None:
        return None, reason
    known = previous.notes.get(COHORT)
    if known is None:
        return None, "the last run did not say which cohort it had"
    if ctx.handles[COHORT].snapshot_by_id(int(known)) is None:
        return None, "the cohort of the last run has been expired by maintenance"
    if not lies_as_declared(ctx.handles[UNIT_OUTCOMES], previous.snapshot_id, {"experiment_id": ctx.experiment_id}):
        return None, "the rows there lie in files of an earlier layout"
    return previous, ""
