"""J5: from unit rows to sufficient statistics, and from the events that no earlier run has counted to sums by day."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exp_platform.lake.read import read_arrow, read_spark
from exp_platform.lake.tables import TABLES
from exp_platform.metrics.numbers import UNIT_COLUMNS
from exp_platform.metrics.panels import panels_of
from exp_platform.pipelines.previous import (
    Previous,
    appended_outcomes,
    newly_seen_outcomes,
    previous_publication,
)
from exp_platform.transforms.cohort import without_dimensions
from exp_platform.transforms.cohort_dates import cohort_digests, other_dates
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.last_run import LastRun, reach_of_new_events
from exp_platform.transforms.metric_tables import DAILY, OVERALL, PANEL, STATISTICS, Inputs, metric_tables
from exp_platform.transforms.unit_partials import has_far_values

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


COHORT = "gold.fct_experiment_cohort"
UNIT_OUTCOMES = "gold.fct_experiment_unit_outcomes"


def run(ctx: StageContext) -> None:
    """Read unit rows and outcomes; publish statistics, panel and roll-ups."""
    outcomes = ctx.read("exp.outcomes")
    cohort, units = ctx.read(COHORT), ctx.read_batches(UNIT_OUTCOMES, UNIT_COLUMNS)
    if ctx.already_published(STATISTICS, PANEL, OVERALL, DAILY):
        return
    if not ctx.experiment.dimensions:
        cohort = without_dimensions(cohort)
    inputs = Inputs(
        experiment_id=ctx.experiment_id,
        units=units,
        cohort=cohort,
        outcomes=outcomes,
        metrics=ctx.metrics,
        variants=[variant.id for variant in ctx.experiment.live_variants],
        end_ts=ctx.experiment.end_ts,
        cutoff=ctx.cutoff,
        far=has_far_values(outcomes),
        join=join_for(ctx.rows_read(COHORT)),
    )
    tables = metric_tables(replace(inputs, last=last_run(ctx, inputs)))
    for warning in tables.warnings:
        ctx.log(f"WARN {warning}")
    for name, rows in tables.rows.items():
        ctx.publish(name, rows, notes=tables.notes.get(name))


def last_run(ctx: StageContext, inputs: Inputs) -> LastRun | None:
    """What the tables hold that still holds, and what has come since; None where all events are to be read."""
    previous, reason = _previous(ctx, inputs)
    if previous is None:
        ctx.log(f"sums from all events: {reason}")
        return None
    last = previous[STATISTICS]
    key = {"experiment_id": ctx.experiment_id}
    before = read_spark(ctx.spark, TABLES[COHORT], last.inputs[COHORT], key)
    if not ctx.experiment.dimensions:
        before = without_dimensions(before)
    appeared, changed = other_dates(cohort_digests(before), cohort_digests(inputs.cohort))
    new = newly_seen_outcomes(ctx, last)
    sources = sorted({source for metric in ctx.metrics for source in metric.sources})
    days = max((p.days for p in panels_of(ctx.metrics).values()), default=0)
    dates, first = reach_of_new_events(inputs.cohort, new, sources, days, ctx.cutoff, inputs.join)
    left = {name: read_arrow(ctx.handles[name], TABLES[name], previous[name].snapshot_id, key) for name in previous}
    known = LastRun(
        statistics=left[STATISTICS],
        daily=left[DAILY],
        panel=left[PANEL],
        panel_notes=dict(previous[PANEL].notes),
        appended=appended_outcomes(ctx, last),
        new_events=new,
        appeared=appeared,
        changed=changed,
        before_assignment=dates,
        first_day=first,
    )
    ctx.log(
        f"sums from those of {last.dt} and the events since; panels of {len(known.panel_dates)} cohort "
        f"dates anew, calendar from {known.calendar_from or 'nowhere'} on"
    )
    return known


def _previous(ctx: StageContext, inputs: Inputs) -> tuple[dict[str, Previous] | None, str]:
    if inputs.far:
        return None, "some values are too large for mergeable sums"
    found: dict[str, Previous] = {}
    for name in (STATISTICS, DAILY, PANEL):
        previous, reason = previous_publication(ctx, name)
        if previous is None:
            return None, reason
        found[name] = previous
    inputs_then = [previous.inputs for previous in found.values()]
    if any(then != inputs_then[0] for then in inputs_then) or COHORT not in inputs_then[0]:
        return None, "the last run ended before all of its tables were published"
    if ctx.handles[COHORT].snapshot_by_id(inputs_then[0][COHORT]) is None:
        return None, "the cohort of the last run has been expired by maintenance"
    return found, ""
