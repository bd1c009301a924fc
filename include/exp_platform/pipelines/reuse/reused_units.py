"""Reuse in J4: the cohort, and the cohort dates whose unit rows an earlier run has computed."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from exp_platform.lake.changes import is_expired, only_appended
from exp_platform.lake.rows import lies_as_declared
from exp_platform.lake.tables.names import COHORT, OUTCOMES, UNIT_OUTCOMES
from exp_platform.pipelines.reuse.answer import EXPIRED, Answer, Previous, everything, nothing
from exp_platform.pipelines.reuse.new_events import newly_seen, sees_new_events
from exp_platform.transforms.cohort_dates import dates_of_units, dates_that_turn, dates_with_events, other_dates
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.unit_partials import Layout, seen_events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exp_platform.pipelines.context import StageContext

DIGESTS = "digests"  # key of the cohort's notes: cohort date -> digest of its units


def same_cohort(ctx: StageContext, digests: Mapping[str, str]) -> Answer:
    """Reuse the whole cohort when the earlier one has the same digest on every cohort date."""
    previous, reason = ctx.reuse.previous(COHORT)
    if previous is None:
        return nothing(reason)
    if previous.notes.get(DIGESTS) != digests:
        return nothing(f"units have changed since dt {previous.dt}")
    return everything(previous, "the units of every cohort date are the same")


def unit_rows(ctx: StageContext, layout: Layout) -> Answer:
    """Decide whether all unit rows, those of some cohort dates, or none are reused; log what is recomputed."""
    answer = ctx.reuse.of(UNIT_OUTCOMES)
    if answer.is_everything:
        return answer
    previous, reason = outcomes_only_appended(ctx, UNIT_OUTCOMES)
    if previous is None:
        answer = nothing(reason)
    elif DIGESTS not in ctx.reuse.notes_at(COHORT, previous.notes[COHORT]):
        answer = nothing(f"the cohort of the last run {EXPIRED}")
    elif not lies_as_declared(
        ctx.read.handle(UNIT_OUTCOMES), previous.snapshot_id, {"experiment_id": ctx.run.experiment_id}
    ):
        answer = nothing("the published rows lie in files with an earlier partitioning")
    else:
        answer = _by_dates(ctx, previous, layout)
    if answer.is_nothing:
        ctx.log(f"recomputed all unit rows: {answer.reason}")
    return ctx.reuse.settle(UNIT_OUTCOMES, answer)


def outcomes_only_appended(ctx: StageContext, table: str) -> tuple[Previous | None, str]:
    """The earlier rows of a table when outcomes were only appended to since; else None and the reason."""
    previous, reason = ctx.reuse.previous(table)
    if previous is None:
        return None, reason
    stored = ctx.read.stored_in(OUTCOMES)
    if stored not in previous.inputs:
        return None, f"the published rows do not name the snapshot of {stored} that they were made of"
    since, until = previous.inputs[stored], ctx.read.snapshot_of(OUTCOMES)
    if is_expired(ctx.read.handle(OUTCOMES), since):
        return None, f"the snapshot of {stored} that the last run read {EXPIRED}"
    if not only_appended(ctx.read.handle(OUTCOMES), ctx.read.owners_of(OUTCOMES), since, until):
        return None, f"{stored} was rewritten since the last run, not only appended to"
    return previous, ""


def _by_dates(ctx: StageContext, previous: Previous, layout: Layout) -> Answer:
    at_present = ctx.reuse.notes_at(COHORT, ctx.read.snapshot_of(COHORT))[DIGESTS]
    known, dates = dates_of_units(at_present), _changed_dates(ctx, previous, at_present, layout)
    recomputed, gone = len(dates & known), len(dates - known)
    ctx.log(
        f"recomputed unit rows of {recomputed} of {len(known)} cohort dates, removed those of {gone} dates; "
        f"reused unit rows of {len(known) - recomputed} dates as of {previous.dt}"
    )
    return Answer("no cohort date has changed", previous, dates)


def _changed_dates(
    ctx: StageContext, previous: Previous, digests: Mapping[str, str], layout: Layout
) -> frozenset[date]:
    """The cohort dates to recompute: with other units, a new event in a window, or a window that opened or closed."""
    before = ctx.reuse.notes_at(COHORT, previous.notes[COHORT])[DIGESTS]
    appeared, changed = other_dates(before, digests)
    end_ts = ctx.run.experiment.end_ts
    dates = (
        appeared
        | changed
        | dates_that_turn(
            dates_of_units(digests), ctx.run.metrics, end_ts=end_ts, before=previous.cutoff, now=ctx.run.cutoff
        )
    )
    if not sees_new_events(ctx.read, ctx.run, previous, OUTCOMES):
        return dates
    events = seen_events(newly_seen(ctx.read, ctx.run, previous), layout.sources, ctx.run.cutoff)
    cohort = ctx.read.frame(COHORT)
    return dates | dates_with_events(cohort, events, layout, join=join_for(ctx.read.rows_in(COHORT)))
