"""J5: sufficient statistics from unit rows, and sums by day from the events that no earlier run has counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exp_platform.lake.tables.names import COHORT, OUTCOMES, UNIT_OUTCOMES
from exp_platform.pipelines.reuse.statistics import SUMS, last_sums
from exp_platform.sums.numbers import UNIT_COLUMNS
from exp_platform.transforms.cohort import without_dimensions
from exp_platform.transforms.joins import join_for
from exp_platform.transforms.metric_tables import Inputs, metric_tables
from exp_platform.transforms.unit_partials import has_far_values

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read unit rows and outcomes; publish statistics, panel and roll-ups."""
    answers = {table: ctx.reuse.of(table) for table in SUMS}
    if all(answer.is_everything for answer in answers.values()):
        for table, answer in answers.items():
            ctx.publish.reused(table, answer)
        return
    inputs = read_inputs(ctx)
    tables = metric_tables(replace(inputs, last=last_sums(ctx, inputs)))
    for warning in tables.warnings:
        ctx.log(f"WARN {warning}")
    for name, rows in tables.rows.items():
        ctx.publish(name, rows, notes=tables.notes.get(name))


def read_inputs(ctx: StageContext) -> Inputs:
    """The unit rows, their cohort and the outcome events of this run."""
    outcomes, cohort = ctx.read.frame(OUTCOMES), ctx.read.frame(COHORT)
    return Inputs(
        experiment_id=ctx.run.experiment_id,
        units=ctx.read.batches(UNIT_OUTCOMES, UNIT_COLUMNS),
        cohort=cohort if ctx.run.experiment.attributes_read else without_dimensions(cohort),
        outcomes=outcomes,
        metrics=ctx.run.metrics,
        variants=[variant.id for variant in ctx.run.experiment.live_variants],
        end_ts=ctx.run.experiment.end_ts,
        cutoff=ctx.run.cutoff,
        far=has_far_values(outcomes),
        join=join_for(ctx.read.rows_in(COHORT)),
        cluster=ctx.run.experiment.cluster,
    )
