"""J7: sample ratio, power and sanity checks of this dt."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    EXPOSURE_STATISTICS,
    METRIC_STATISTICS,
    PRETREND_TESTS,
    QUALITY_METRICS_DAILY,
    STATISTICAL_VALIDATION,
)
from exp_platform.pipelines.outcome_names import absent_of, repeated_of
from exp_platform.pipelines.sealed_plan import plan_of
from exp_platform.pipelines.stages.analyze_results import run_columns
from exp_platform.results.absent import digest_of
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.other_experiments import past_effects
from exp_platform.results.plan import names
from exp_platform.results.validation import validate
from exp_platform.status import CheckStatus

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read statistics and effects; publish one row per check."""
    plan = plan_of(ctx)
    statistics = ctx.read.arrow(METRIC_STATISTICS)
    axes = read_axes(statistics, plan.arms)
    history = past_effects(
        ctx.read.handle(ANALYSIS_RESULTS), plan.experiment.experiment_id, plan.dt, names(plan.metrics)
    )
    inputs = CheckInputs(
        plan=plan,
        statistics=statistics,
        cubes=cubes(statistics, plan.metrics, axes),
        axes=axes,
        assigned=ctx.read.arrow(QUALITY_METRICS_DAILY).to_pylist(),
        deciding=deciding_rows(ctx.read.arrow(ANALYSIS_RESULTS)),
        pretrends=ctx.read.arrow(PRETREND_TESTS).to_pylist(),
        exposures=ctx.read.arrow(EXPOSURE_STATISTICS),
        history=history,
        absent=absent_of(ctx, statistics),
        repeated=repeated_of(ctx),
    )
    rows = validate(inputs)
    shared = {name: value for name, value in run_columns(ctx).items() if name != "config_hash"}
    fingerprint = hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()[:16]
    told = {"history": fingerprint, **digest_of(inputs.absent)}
    if any(dropped for _, dropped in inputs.repeated.values()):
        told["repeated"] = json.dumps(dict(sorted(inputs.repeated.items())))
    ctx.publish(STATISTICAL_VALIDATION, [shared | row for row in rows], inputs=told)
    spoken = sorted({f"{row['check_name']} {row['status']}" for row in rows if row["status"] != CheckStatus.OK.value})
    ctx.log(f"{len(rows)} checks: {', '.join(spoken) or 'all ok'}")
