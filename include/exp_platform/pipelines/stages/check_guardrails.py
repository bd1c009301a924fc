"""J8: the status of every guardrail, the trust in the result, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.config.policy import load_policy
from exp_platform.decision.evidence import evidence, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import trust_of
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    DECISION,
    EXPOSURE_QUALITY_DAILY,
    GUARDRAIL_STATUS,
    PRETREND_TESTS,
    STATISTICAL_VALIDATION,
)
from exp_platform.pipelines.plan import plan_of
from exp_platform.pipelines.stages.analyze_results import run_columns
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.guardrails import guardrail_rows

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read the effects and verdicts of this dt; publish guardrails, and a decision per arm and one for `all` arms."""
    plan = plan_of(ctx.run)
    policy = load_policy(ctx.run.project.root, ctx.run.experiment.decision_policy)
    deciding = deciding_rows(ctx.read.arrow(ANALYSIS_RESULTS))
    tests = ctx.read.arrow(PRETREND_TESTS).to_pylist()
    trust = trust_of(
        ctx.read.arrow(EXPOSURE_QUALITY_DAILY).to_pylist(),
        ctx.read.arrow(STATISTICAL_VALIDATION).to_pylist(),
        ctx.run.experiment.analysis_mode,
    )
    guardrails = guardrail_rows(deciding, plan)
    verdicts = decide(evidence(deciding, guardrails, tests, plan), trust, moment(plan), policy)
    shared = run_columns(ctx)
    rows = [
        shared
        | {
            "variant_id": verdict.variant_id,
            "trust": trust.trust.value,
            "decision": verdict.decision.value,
            "reasons": list(verdict.reasons),
            "policy": policy.label,
            "planned_end": plan.planned_end,
            "interval_in_force": plan.interval_in_force,
        }
        for verdict in verdicts
    ]
    guardrail_columns = {name: value for name, value in shared.items() if name != "config_hash"}
    ctx.publish(GUARDRAIL_STATUS, [guardrail_columns | row for row in guardrails])
    ctx.publish(DECISION, rows, inputs={"policy": policy.label})
    ctx.log(f"trust: {trust.trust}; decision: {verdicts[-1].decision} ({', '.join(verdicts[-1].reasons)})")
