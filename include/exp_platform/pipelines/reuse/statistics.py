"""Reuse in J5: the sums of an earlier run that still hold, so that their events need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.changes import untouched
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    COHORT,
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_SERIES,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
    UNIT_OUTCOMES,
)
from exp_platform.pipelines.reuse.answer import Previous
from exp_platform.pipelines.reuse.new_events import appended, newly_seen
from exp_platform.pipelines.reuse.reused_units import DIGESTS, outcomes_only_appended
from exp_platform.sums.panels import panels_of
from exp_platform.transforms.cohort_dates import other_dates
from exp_platform.transforms.earlier_sums import LastRun, reach_of_new_events

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext
    from exp_platform.transforms.sum_inputs import SumInputs

SUMS = (METRIC_STATISTICS, METRIC_AGGREGATES_OVERALL, METRIC_AGGREGATES_DAILY, PANEL_STATISTICS, METRIC_SERIES)


def last_sums(ctx: StageContext, inputs: SumInputs) -> LastRun | None:
    """J5's tables of an earlier run and the events since; None when all events must be read."""
    previous, reason = _previous(ctx, inputs)
    if previous is None:
        ctx.log(f"recomputed all statistics: {reason}")
        return None
    last = previous[METRIC_STATISTICS]
    then, now = (_digests(ctx, at) for at in (last.inputs[COHORT], ctx.read.snapshot_of(COHORT)))
    appeared, changed = other_dates(then, now)
    new = newly_seen(ctx.read, ctx.run, last)
    read = [m for metric in ctx.run.metrics for m in (metric, *metric.covariate_metrics)]
    sources = sorted({source for metric in read for source in metric.sources})
    days = max((p.days for p in panels_of(ctx.run.metrics).values()), default=0)
    dates, first = reach_of_new_events(inputs.cohort, new, sources, days, ctx.run.cutoff, inputs.join)
    key = {"experiment_id": ctx.run.experiment_id}
    left = {
        name: read_arrow(ctx.read.handle(name), TABLES[name], found.snapshot_id, key)
        for name, found in previous.items()
    }
    known = LastRun(
        statistics=left[METRIC_STATISTICS],
        overall=left[METRIC_AGGREGATES_OVERALL],
        daily=left[METRIC_AGGREGATES_DAILY],
        panel=left[PANEL_STATISTICS],
        series=left[METRIC_SERIES],
        statistics_notes=dict(last.notes),
        panel_notes=dict(previous[PANEL_STATISTICS].notes),
        same_units=untouched(
            ctx.read.handle(UNIT_OUTCOMES),
            ctx.run.experiment_id,
            last.inputs[UNIT_OUTCOMES],
            ctx.read.snapshot_of(UNIT_OUTCOMES),
        ),
        appended=appended(ctx.read, ctx.run, last),
        new_events=new,
        appeared=appeared,
        changed=changed,
        before_assignment=dates,
        first_day=first,
    )
    ctx.log(_sentence(last, known))
    return known


def _sentence(last: Previous, known: LastRun) -> str:
    reused = "statistics" if known.same_units else "panels and calendar days"
    days = f"calendar days from {known.calendar_from}" if known.calendar_from else "no calendar days"
    units = "" if known.same_units else "the sums of all units, "
    return f"reused {reused} of {last.dt}; recomputed: {units}panels of {len(known.panel_dates)} cohort dates, {days}"


def _previous(ctx: StageContext, inputs: SumInputs) -> tuple[dict[str, Previous] | None, str]:
    if inputs.far:
        return None, "outcome values are too large for sums that can be added to"
    found: dict[str, Previous] = {}
    for name in SUMS:
        previous, reason = outcomes_only_appended(ctx, name)
        if previous is None:
            return None, reason
        found[name] = previous
    then = [previous.inputs for previous in found.values()]
    if any(other != then[0] for other in then) or COHORT not in then[0]:
        return None, "the last run ended before all of its tables were published"
    if not all(_digests(ctx, at) for at in (then[0][COHORT], ctx.read.snapshot_of(COHORT))):
        return None, "a cohort has no digest of its dates: it was expired by maintenance, or made by older code"
    return found, ""


def _digests(ctx: StageContext, snapshot_id: int) -> dict[str, str]:
    """Cohort date -> digest of its units, from the notes of the cohort that a snapshot shows; empty without notes."""
    digests: dict[str, str] = ctx.reuse.notes_at(COHORT, snapshot_id).get(DIGESTS, {})
    return digests
