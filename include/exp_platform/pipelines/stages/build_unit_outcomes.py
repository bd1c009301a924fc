"""J4: who is analysed, and the metrics of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.pipelines.previous import OUTCOMES, Previous, newly_seen_outcomes, previous_publication
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
# Adding to a row means to read it, join it and write it again: at 18 events a unit that cost more than all events.
PAYS_FROM = 40


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
    previous, reason = previous_publication(ctx, UNIT_OUTCOMES)
    if previous is not None and ctx.rows_read(OUTCOMES) < PAYS_FROM * ctx.rows_read(COHORT):
        previous, reason = None, f"fewer than {PAYS_FROM} of a unit, which cost less than its row of the day before"
    if far:  # they are added up in order of size, which is not known before all are there
        previous, reason = None, "some values are too large for mergeable sums"
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


def updated_units(ctx: StageContext, cohort: DataFrame, outcomes: DataFrame, previous: Previous) -> DataFrame:
    """The unit rows from the previous ones and from what has come since: by file, and by the later cut-off."""
    end_ts = ctx.experiment.end_ts
    layout = Layout.of(ctx.metrics, end_ts)
    sources = layout.sources
    units, windows = ctx.read(UNIT_OUTCOMES), unit_windows(cohort)
    join = join_for(ctx.rows_read(COHORT))
    fresh = fresh_units(windows, units, layout, join=join)
    new = seen_events(newly_seen_outcomes(ctx, previous), sources, ctx.cutoff)
    ctx.log(f"units from the rows of {previous.cutoff:%Y-%m-%d} and the new events; {fresh.units:,} units are new")
    history = seen_events(since(outcomes, fresh.first_event_us), sources, ctx.cutoff)
    partials = updated_partials(windows, units, new, history, fresh, layout, join=join)
    return outcomes_from_partials(cohort, partials, ctx.metrics, layout, end_ts=end_ts, cutoff=ctx.cutoff, join=join)
