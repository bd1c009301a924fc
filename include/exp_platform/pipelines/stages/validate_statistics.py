"""J7: sample ratio, power and sanity checks of this dt."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from exp_platform.pipelines.stages.analyze_results import run_columns
from exp_platform.results.checks import Inputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.history import past_effects
from exp_platform.results.plan import Plan, names
from exp_platform.results.validation import validate
from exp_platform.status import CheckStatus

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

VALIDATION = "gold.fct_experiment_statistical_validation"


def run(ctx: StageContext) -> None:
    """Read statistics and answers, publish one row per check."""
    plan = Plan(ctx.experiment, ctx.metrics, ctx.dt, ctx.cutoff)
    statistics = ctx.read_arrow("gold.fct_experiment_metric_statistics")
    axes = read_axes(statistics, plan.arms)
    history = past_effects(
        ctx.handles["exp.analysis_results"], plan.experiment.experiment_id, plan.dt, names(plan.metrics)
    )
    inputs = Inputs(
        plan=plan,
        statistics=statistics,
        cubes=cubes(statistics, plan.metrics, axes),
        axes=axes,
        assigned=ctx.read_arrow("gold.fct_experiment_quality_metrics_daily").to_pylist(),
        deciding=deciding_rows(ctx.read_arrow("exp.analysis_results")),
        pretrends=ctx.read_arrow("exp.did_pretrend_tests").to_pylist(),
        history=history,
    )
    rows = validate(inputs)
    shared = {name: value for name, value in run_columns(ctx).items() if name != "config_hash"}
    fingerprint = hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()[:16]
    ctx.publish(VALIDATION, [shared | row for row in rows], inputs={"history": fingerprint})
    spoken = sorted({f"{row['check_name']} {row['status']}" for row in rows if row["status"] != CheckStatus.OK.value})
    ctx.log(f"{len(rows)} checks: {', '.join(spoken) or 'all ok'}")
