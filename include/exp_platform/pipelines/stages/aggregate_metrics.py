"""J5: from unit rows to sufficient statistics, and from the events that no earlier run has counted to sums by day."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exp_platform.lake.changes import untouched
from exp_platform.lake.read import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.metrics.numbers import UNIT_COLUMNS
from exp_platform.metrics.panels import panels_of
from exp_platform.pipelines.previous import Previous, appended, newly_seen, notes_at, previous_outcomes
from exp_platform.pipelines.stages.build_unit_outcomes import COHORT, DIGESTS
from exp_platform.transforms.cohort import without_dimensions
from exp_platform.transforms.cohort_dates import other_dates
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.last_run import LastRun, reach_of_new_events
from exp_platform.transforms.metric_tables import DAILY, OVERALL, PANEL, STATISTICS, Inputs, metric_tables
from exp_platform.transforms.unit_outcomes import UNIT_OUTCOMES
from exp_platform.transforms.unit_partials import has_far_values

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read unit rows and outcomes; publish statistics, panel and roll-ups."""
    outcomes = ctx.read("exp.outcomes")
    cohort, units = ctx.read(COHORT), ctx.read_batches(UNIT_OUTCOMES, UNIT_COLUMNS)
    if ctx.already_published(STATISTICS, PANEL, OVERALL, DAILY):
        return
    if not ctx.experiment.attributes_read:
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
        cluster=ctx.experiment.cluster,
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
    appeared, changed = other_dates(
        *(notes_at(ctx, COHORT, at)[DIGESTS] for at in (last.inputs[COHORT], ctx.snapshot_of(COHORT)))
    )
    new = newly_seen(ctx, last)
    sources = sorted({source for metric in ctx.metrics for source in metric.sources})
    days = max((p.days for p in panels_of(ctx.metrics).values()), default=0)
    dates, first = reach_of_new_events(inputs.cohort, new, sources, days, ctx.cutoff, inputs.join)
    key = {"experiment_id": ctx.experiment_id}
    left = {name: read_arrow(ctx.handles[name], TABLES[name], previous[name].snapshot_id, key) for name in previous}
    known = LastRun(
        statistics=left[STATISTICS],
        overall=left[OVERALL],
        daily=left[DAILY],
        panel=left[PANEL],
        statistics_notes=dict(last.notes),
        panel_notes=dict(previous[PANEL].notes),
        same_units=untouched(
            ctx.handles[UNIT_OUTCOMES],
            ctx.experiment_id,
            last.inputs[UNIT_OUTCOMES],
            ctx.snapshot_of(UNIT_OUTCOMES),
        ),
        appended=appended(ctx, last),
        new_events=new,
        appeared=appeared,
        changed=changed,
        before_assignment=dates,
        first_day=first,
    )
    units = "the same units" if known.same_units else "all units again"
    ctx.log(
        f"sums from those of {last.dt}: {units}, events since then, panels of {len(known.panel_dates)} cohort dates "
        f"anew, calendar from {known.calendar_from or 'nowhere'} on"
    )
    return known


def _previous(ctx: StageContext, inputs: Inputs) -> tuple[dict[str, Previous] | None, str]:
    if inputs.far:
        return None, "some values are too large for mergeable sums"
    found: dict[str, Previous] = {}
    for name in (STATISTICS, OVERALL, DAILY, PANEL):
        previous, reason = previous_outcomes(ctx, name)
        if previous is None:
            return None, reason
        found[name] = previous
    inputs_then = [previous.inputs for previous in found.values()]
    if any(then != inputs_then[0] for then in inputs_then) or COHORT not in inputs_then[0]:
        return None, "the last run ended before all of its tables were published"
    if any(DIGESTS not in notes_at(ctx, COHORT, at) for at in (inputs_then[0][COHORT], ctx.snapshot_of(COHORT))):
        return None, "a cohort does not say what its dates held: it was expired by maintenance, or made by older code"
    return found, ""
