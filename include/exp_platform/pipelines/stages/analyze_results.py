"""J6: effects of every arm on every metric, by A/B, CUPED and difference-in-differences, with the pre-trend tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.results.analysis import analyze
from exp_platform.results.frame import to_table
from exp_platform.results.plan import Plan

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

RESULTS, DELTAS, TESTS = "exp.analysis_results", "exp.did_pretrend_delta", "exp.did_pretrend_tests"


def run(ctx: StageContext) -> None:
    """Read the sufficient statistics, publish the answers of this dt."""
    plan = Plan(ctx.experiment, ctx.metrics, ctx.dt, ctx.cutoff)
    statistics = ctx.read_arrow("gold.fct_experiment_metric_statistics")
    panel = ctx.read_arrow("gold.fct_experiment_panel_statistics")
    answer = analyze(statistics, panel, plan)
    for name, frame in ((RESULTS, answer.results), (DELTAS, answer.deltas), (TESTS, answer.tests)):
        ctx.publish(name, to_table(name, frame, run_columns(ctx)))
    statuses = answer.results["status"][answer.results["is_deciding"]].tolist()
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
    ctx.log(f"deciding rows by {ctx.experiment.method_in_force}: {counts}")


def run_columns(ctx: StageContext) -> dict[str, object]:
    """What every published answer says of its run; columns that a table does not declare are ignored."""
    return {
        "experiment_id": ctx.experiment.experiment_id,
        "dt": ctx.dt,
        "run_id": ctx.run_id,
        "input_snapshots": ctx.input_snapshots,
        "config_hash": ctx.config_hash,
        "code_version": ctx.code_version,
        "computed_at": ctx.now,
    }
