"""Write the decision memo: its first screen is the decision, the rest is the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exp_platform.decision.trust import trust_of
from exp_platform.lake.publication import MAIN
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    COHORT,
    CONTRACT_RESULTS,
    DECISION,
    EXPOSURE_QUALITY_DAILY,
    GUARDRAIL_STATUS,
    INGESTED_FILES,
    PRETREND_DELTA,
    PRETREND_TESTS,
    QUALITY_METRICS_DAILY,
    QUARANTINE,
    RUN_MANIFEST,
    STATISTICAL_VALIDATION,
)
from exp_platform.ledger.pins import pin_inputs
from exp_platform.memo.amendments import plan_section
from exp_platform.memo.content import Answers, memo_content
from exp_platform.memo.data import data_section
from exp_platform.memo.files import write_memo
from exp_platform.memo.left_out import COHORT_COLUMNS, left_out
from exp_platform.memo.words import moment
from exp_platform.pipelines.plan import content_now, plan_of, seals_of, verdict_effect
from exp_platform.pipelines.registry import EVENTS
from exp_platform.results.plan import AnalysisPlan, in_force

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read what this run published, write the memo as Markdown, HTML and JSON, and pin the run's event snapshots."""
    plan = plan_of(ctx)
    data = data_section(
        ctx.read.rows(RUN_MANIFEST, run_id=ctx.run.run_id),
        ctx.read.rows(INGESTED_FILES),
        ctx.read.arrow(QUARANTINE, ["dataset", "rule", "count"]),
        ctx.read.rows(CONTRACT_RESULTS, run_id=ctx.run.run_id),
    )
    published = Answers(
        decisions=ctx.read.arrow(DECISION).to_pylist(),
        results=ctx.read.arrow(ANALYSIS_RESULTS).to_pylist(),
        guardrails=ctx.read.arrow(GUARDRAIL_STATUS).to_pylist(),
        checks=ctx.read.arrow(STATISTICAL_VALIDATION).to_pylist(),
        quality=ctx.read.arrow(EXPOSURE_QUALITY_DAILY).to_pylist(),
        pretrend_tests=ctx.read.arrow(PRETREND_TESTS).to_pylist(),
        pretrend_deltas=ctx.read.arrow(PRETREND_DELTA).to_pylist(),
        looks=_looks(ctx, plan),
        data=data | {"left_out": _left_out(ctx, plan, data)},
    )
    published = replace(published, sealed_plan=_sealed_plan(ctx, plan, published))
    about_run = {
        "run_id": ctx.run.run_id,
        "config_hash": ctx.run.config_hash,
        "code_version": ctx.run.code_version,
        "computed_at": moment(ctx.now),
    }
    content = memo_content(published, plan, about_run)
    path = write_memo(ctx.run.project, ctx.run.experiment_id, ctx.run.dt, content, latest=ctx.read.branch == MAIN)
    pin_events(ctx)
    ctx.log(f"{content['answer']['decision_label']} ({content['answer']['trust_label'].lower()}); memo: {path}")


def pin_events(ctx: StageContext) -> None:
    """Tag the event snapshots of this run, so that maintenance keeps them readable for a reproduction."""
    run, pins = ctx.run, ctx.read.pins
    known = pins.published.keys() | pins.read.keys()
    snapshots = {table: ctx.read.snapshot_of(table) for table in EVENTS if table in known}
    days = None if run.experiment.status == "concluded" else run.project.profile.pins.retain_days
    kept = pin_inputs(run.project, run.experiment_id, run.run_id, snapshots, days, ctx.now, ctx.read.catalog)
    ctx.log(f"pinned {', '.join(kept) or 'no table'} {f'for {days} days' if days else 'without limit'}")


def _left_out(ctx: StageContext, plan: AnalysisPlan, data: dict[str, Any]) -> dict[str, Any]:
    """Users and rows that no number is made of, with their reasons."""
    daily = ctx.read.arrow(QUALITY_METRICS_DAILY).to_pylist()
    return left_out(ctx.read.arrow(COHORT, COHORT_COLUMNS), daily, data["datasets"], plan.arms)


def _sealed_plan(ctx: StageContext, plan: AnalysisPlan, published: Answers) -> dict[str, Any]:
    """The section on the sealed plan, with the effect of its amendments on this run's decisions."""
    decisions = {row["variant_id"]: row["decision"] for row in published.decisions}
    trust = trust_of(published.quality, published.checks, plan.experiment.analysis_mode)
    effect = verdict_effect(ctx, plan, decisions, lambda: published.results, published.pretrend_tests, trust)
    return plan_section(seals_of(ctx), content_now(ctx), plan, effect)


def _looks(ctx: StageContext, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The primary metric's deciding rows of every dt so far; the memo finds the first significant dt in them."""
    if plan.primary is None:
        return []
    p_column = in_force("anytime", plan.primary.decision_scale)["p"]
    columns = ["dt", "metric_name", "variant_id", "status", "is_deciding", p_column]
    rows = ctx.read.arrow(ANALYSIS_RESULTS, columns, all_dts=True).to_pylist()
    return [row for row in rows if row["is_deciding"] and row["metric_name"] == plan.primary.name]
