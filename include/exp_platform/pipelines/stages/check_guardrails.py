"""J8: the status of every guardrail, the trust in the result, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.decision.amended import VerdictEffect
from exp_platform.decision.evidence import evidence, exploratory, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import trust_of
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    DECISION,
    EXPOSURE_QUALITY_DAILY,
    GUARDRAIL_STATUS,
    LATEST_RESULTS,
    PRETREND_TESTS,
    SECOND_OPINIONS,
    STATISTICAL_VALIDATION,
)
from exp_platform.ledger.seals import fill_effect
from exp_platform.ledger.second_opinions import last_opinion
from exp_platform.pipelines.sealed_plan import content_now, plan_of, policy_of, seals_of, verdict_effect
from exp_platform.pipelines.stages.analyze_results import run_columns
from exp_platform.results.deciding import deciding_rows, overall_rows
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.latest import latest_rows
from exp_platform.results.seal import differences

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read the effects and verdicts of this dt; publish guardrails, decisions and the deciding rows."""
    plan = plan_of(ctx)
    policy = policy_of(ctx.run)
    results = ctx.read.arrow(ANALYSIS_RESULTS)
    deciding = deciding_rows(results)
    tests = ctx.read.arrow(PRETREND_TESTS).to_pylist()
    checks = (
        ctx.read.arrow(EXPOSURE_QUALITY_DAILY).to_pylist(),
        ctx.read.arrow(STATISTICAL_VALIDATION).to_pylist(),
        ctx.run.experiment.analysis_mode,
        plan.deciding_metrics,
    )
    opinion = last_opinion(ctx.read.rows(SECOND_OPINIONS), ctx.run.run_id, ctx.run.dt)
    differing = opinion.metrics if opinion is not None else ()
    trust = trust_of(*checks, exploratory(plan), ctx.run.experiment.acknowledge, differing)
    identity = {"policy": policy.label} | ({"second_opinion": ",".join(differing)} if differing else {})
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
    ctx.publish(DECISION, rows, inputs=identity)
    decisions = {verdict.variant_id: verdict.decision.value for verdict in verdicts}
    latest = [row | shared for row in latest_rows(deciding, plan, trust.trust.value, decisions)]
    ctx.publish(LATEST_RESULTS, latest, inputs=identity)
    effect = verdict_effect(
        ctx,
        plan,
        decisions,
        lambda: overall_rows(results),
        tests,
        lambda by: trust_of(*checks, acknowledged=by, differing=differing),
    )
    if effect is not None:
        _note_effect(ctx, effect)
    ctx.log(f"trust: {trust.trust}; decision: {verdicts[-1].decision} ({', '.join(verdicts[-1].reasons)})")


def _note_effect(ctx: StageContext, effect: VerdictEffect) -> None:
    """Log the effect of the amendments; write it to the last one, if this run works by it and no run has done so."""
    ctx.log(f"the plan was amended; effect on the verdict: {effect.text}")
    last = seals_of(ctx)[-1]
    if last.number and not differences(last.content, content_now(ctx)) and last.dt <= ctx.run.dt:
        fill_effect(ctx.run.project, ctx.run.experiment_id, last.number, effect.text, ctx.read.catalog)
