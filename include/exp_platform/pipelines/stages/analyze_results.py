"""J6: effects of every arm on every metric, by A/B, CUPED and difference-in-differences, with the pre-trend tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    EXPOSURE_STATISTICS,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
    PRETREND_DELTA,
    PRETREND_TESTS,
)
from exp_platform.pipelines.outcome_names import absent_of
from exp_platform.pipelines.sealed_plan import plan_of
from exp_platform.results.absent import digest_of
from exp_platform.results.analysis import analyze
from exp_platform.results.frame import to_table

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read the sufficient statistics; publish the effects and pre-trend tests of this dt."""
    plan = plan_of(ctx)
    statistics = ctx.read.arrow(METRIC_STATISTICS)
    panel = ctx.read.arrow(PANEL_STATISTICS)
    absent = absent_of(ctx, statistics)
    for one in absent:
        ctx.log(f"{one.metric}: {one.sentence}")
    answer = analyze(statistics, panel, plan, ctx.read.arrow(EXPOSURE_STATISTICS), absent)
    for name, frame in (
        (ANALYSIS_RESULTS, answer.results),
        (PRETREND_DELTA, answer.deltas),
        (PRETREND_TESTS, answer.tests),
    ):
        ctx.publish(name, to_table(name, frame, run_columns(ctx)), inputs=digest_of(absent))
    statuses = answer.results["status"][answer.results["is_deciding"]].tolist()
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
    ctx.log(f"deciding rows by {ctx.run.experiment.method_in_force}: {counts}")


def run_columns(ctx: StageContext) -> dict[str, object]:
    """The columns of a published row that describe its run; columns that a table does not declare are ignored."""
    return {
        "experiment_id": ctx.run.experiment.experiment_id,
        "dt": ctx.run.dt,
        "run_id": ctx.run.run_id,
        "input_snapshots": ctx.input_snapshots,
        "config_hash": ctx.run.config_hash,
        "code_version": ctx.run.code_version,
        "computed_at": ctx.now,
    }
