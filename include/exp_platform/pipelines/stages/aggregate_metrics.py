"""J5: one pass from unit rows to sufficient statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.metrics.numbers import UNIT_COLUMNS
from exp_platform.transforms.cohort import without_dimensions
from exp_platform.transforms.joins import join_for
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
    tables = metric_tables(inputs)
    for warning in tables.warnings:
        ctx.log(f"WARN {warning}")
    for name, rows in tables.rows.items():
        ctx.publish(name, rows)
