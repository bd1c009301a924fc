"""J1: one canonical assignment per user, from the assignment log or, without such a log, from the exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.tables.names import FACT_ASSIGNMENT
from exp_platform.lake.views import ensure_valid_assignments
from exp_platform.schemas import event_time_column
from exp_platform.transforms.assignments import canonical_assignments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Publish the canonical assignments, and create the view that shows people the valid ones."""
    experiment = ctx.run.experiment
    dataset = experiment.assignment_source

    def assignments() -> DataFrame:
        if notice := ensure_valid_assignments(ctx.spark):
            ctx.log(notice)
        return canonical_assignments(
            ctx.read.frame(f"exp.{dataset}"),
            start_ts=experiment.start_ts,
            end_ts=experiment.end_ts,
            cutoff=ctx.run.cutoff,
            time_column=event_time_column(dataset),
        )

    ctx.publish(FACT_ASSIGNMENT, assignments)
