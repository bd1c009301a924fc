"""J1: one canonical assignment per user, from the assignment log or, where there is none, from the exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.views import ensure_valid_assignments
from exp_platform.schemas import event_time_column
from exp_platform.transforms.assignments import canonical_assignments

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

ASSIGNMENTS = "silver.fact_assignment_canonical"


def run(ctx: StageContext) -> None:
    """Read the events that assign, publish the canonical assignments; people see the valid ones in a view."""
    experiment = ctx.experiment
    dataset = experiment.assignment_source
    events = ctx.read(f"exp.{dataset}")
    assignments = canonical_assignments(
        events,
        start_ts=experiment.start_ts,
        end_ts=experiment.end_ts,
        cutoff=ctx.cutoff,
        time_column=event_time_column(dataset),
    )
    if not ctx.still_holds(ASSIGNMENTS):
        ctx.publish_large(ASSIGNMENTS, assignments)
    ensure_valid_assignments(ctx.spark)
