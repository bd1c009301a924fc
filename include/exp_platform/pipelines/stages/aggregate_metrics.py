"""J5: one pass from unit rows to sufficient statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import spark_schema
from exp_platform.transforms.metric_tables import Inputs, metric_tables, panel_table, persisted

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

STATISTICS = "gold.fct_experiment_metric_statistics"
PANEL = "gold.fct_experiment_panel_statistics"
OVERALL = "exp.metric_aggregates_overall"
DAILY = "exp.metric_aggregates_daily"


def run(ctx: StageContext) -> None:
    """Read unit rows and outcomes; publish statistics, panel and roll-ups."""
    inputs = Inputs(
        experiment_id=ctx.experiment.experiment_id,
        units=ctx.read("gold.fct_experiment_unit_outcomes"),
        cohort=ctx.read("gold.fct_experiment_cohort"),
        outcomes=ctx.read("exp.outcomes"),
        metrics=ctx.metrics,
        variants=[variant.id for variant in ctx.experiment.live_variants],
        end_ts=ctx.experiment.end_ts,
        cutoff=ctx.cutoff,
    )
    keep, release = persisted()
    try:
        tables = metric_tables(inputs, keep)
        for warning in tables.warnings:
            ctx.log(f"WARN {warning}")
        ctx.publish(STATISTICS, tables.statistics)
        ctx.publish(OVERALL, tables.overall)
        ctx.publish(DAILY, tables.daily)
        panel = panel_table(inputs, keep)
        if panel is None:  # an empty result still replaces what an earlier configuration left
            panel = ctx.spark.createDataFrame([], spark_schema(TABLES[PANEL]))
        ctx.publish(PANEL, panel)
    finally:
        release()
