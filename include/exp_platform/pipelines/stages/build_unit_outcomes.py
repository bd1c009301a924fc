"""J4: who is analysed, and the metrics of each of them."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from exp_platform.lake.audit import Part
from exp_platform.lake.read import lies_as_declared
from exp_platform.metrics.numbers import in_maps
from exp_platform.pipelines.previous import (
    OUTCOMES,
    Previous,
    newly_seen,
    notes_at,
    previous_outcomes,
    previous_publication,
)
from exp_platform.transforms.cohort import experiment_cohort, without_dimensions
from exp_platform.transforms.cohort_dates import (
    cohort_digests,
    dates_of_units,
    dates_that_turn,
    dates_with_events,
    events_since_first_window,
    other_dates,
)
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.unit_outcomes import UNIT_OUTCOMES, unit_columns
from exp_platform.transforms.unit_partials import Layout, has_far_values, seen_events

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext

COHORT = "gold.fct_experiment_cohort"
DIGESTS = "digests"  # the note of a cohort: its digest by cohort date


def run(ctx: StageContext) -> None:
    """Read assignments, exposures and outcomes; publish the cohort, then one row of metrics per included user."""
    publish_cohort(ctx)
    outcomes, cohort = ctx.read(OUTCOMES), ctx.read(COHORT)
    if ctx.already_published(UNIT_OUTCOMES):
        return
    experiment, part = ctx.experiment, None
    if not experiment.attributes_read:
        cohort = without_dimensions(cohort)
    far, layout = has_far_values(outcomes), Layout.of(ctx.metrics, experiment.end_ts)
    previous = _previous(ctx)
    if previous is not None:
        dates = changed_dates(ctx, previous, cohort, layout)
        if not dates:
            ctx.take_over(UNIT_OUTCOMES, previous)
            return
        part = Part("cohort_date", dates)
        cohort = cohort.where(part.holds())
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
    finish = partial(in_maps, metrics=ctx.metrics)
    ctx.publish_large(UNIT_OUTCOMES, units, finish=finish, part=part, notes={COHORT: ctx.snapshot_of(COHORT)})


def publish_cohort(ctx: StageContext) -> None:
    """Publish the cohort, unless it would come out as an earlier run has left it."""
    experiment = ctx.experiment
    cohort = experiment_cohort(
        ctx.read("silver.fact_assignment_canonical"),
        ctx.read("silver.int_experiment_exposure_validation"),
        analysis_mode=experiment.analysis_mode,
        attributes=ctx.read("exp.attributes") if experiment.attributes_read else None,
        dimensions=experiment.attributes_read,
    )
    if ctx.already_published(COHORT) or ctx.still_holds(COHORT):
        return
    digests, (previous, _) = cohort_digests(cohort), previous_publication(ctx, COHORT)
    if previous is not None and previous.notes.get(DIGESTS) == digests:
        ctx.take_over(COHORT, previous)
        return
    ctx.publish_large(COHORT, cohort, notes={DIGESTS: digests})


def changed_dates(ctx: StageContext, previous: Previous, cohort: DataFrame, layout: Layout) -> frozenset[date]:
    """The cohort dates whose rows are no longer what an earlier run left."""
    before, now = (notes_at(ctx, COHORT, at)[DIGESTS] for at in (previous.notes[COHORT], ctx.snapshot_of(COHORT)))
    appeared, changed = other_dates(before, now)
    known = dates_of_units(now)
    events = seen_events(newly_seen(ctx, previous), layout.sources, ctx.cutoff)
    dates = appeared | changed | dates_with_events(cohort, events, layout, join=join_for(ctx.rows_read(COHORT)))
    dates |= dates_that_turn(known, ctx.metrics, end_ts=ctx.experiment.end_ts, before=previous.cutoff, now=ctx.cutoff)
    anew, gone = len(dates & known), len(dates - known)
    ctx.log(
        f"units of {anew} of {len(known)} cohort dates anew, {gone} dates are gone; the others stay as of {previous.dt}"
    )
    return dates


def _previous(ctx: StageContext) -> Previous | None:
    """The rows of an earlier run, if those of some cohort dates may stay."""
    previous, reason = previous_outcomes(ctx, UNIT_OUTCOMES)
    if previous is not None and DIGESTS not in notes_at(ctx, COHORT, previous.notes[COHORT]):
        previous, reason = None, "the cohort of the last run has been expired by maintenance"
    elif previous is not None and not lies_as_declared(
        ctx.handles[UNIT_OUTCOMES], previous.snapshot_id, {"experiment_id": ctx.experiment_id}
    ):
        previous, reason = None, "the rows there lie in files of an earlier layout"
    if previous is None:
        ctx.log(f"units from all events: {reason}")
    return previous
