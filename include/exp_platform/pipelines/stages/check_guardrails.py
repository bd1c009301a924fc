"""J8: is every guardrail held, can the result be trusted, and what should be done?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.config.policy import load_policy
from exp_platform.decision.evidence import evidence, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import trust_of
from exp_platform.pipelines.stages.analyze_results import run_columns
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import Plan

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

GUARDRAILS, DECISION = "gold.fct_experiment_guardrail_status", "gold.fct_experiment_decision"


def run(ctx: StageContext) -> None:
    """Read the answers and the verdicts of this dt, publish guardrails and one decision per arm and for `all`."""
    plan = Plan(ctx.experiment, ctx.metrics, ctx.dt, ctx.cutoff)
    policy = load_policy(ctx.project.root, ctx.experiment.decision_policy)
    deciding = deciding_rows(ctx.read_arrow("exp.analysis_results"))
    tests = ctx.read_arrow("exp.did_pretrend_tests").to_pylist()
    trust = trust_of(
        ctx.read_arrow("gold.fct_experiment_exposure_quality_daily").to_pylist(),
        ctx.read_arrow("gold.fct_experiment_statistical_validation").to_pylist(),
        ctx.experiment.analysis_mode,
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
    ctx.publish(GUARDRAILS, [guardrail_columns | row for row in guardrails])
    ctx.publish(DECISION, rows, inputs={"policy": policy.label})
    ctx.log(f"trust: {trust.trust}; decision: {verdicts[-1].decision} ({', '.join(verdicts[-1].reasons)})")
