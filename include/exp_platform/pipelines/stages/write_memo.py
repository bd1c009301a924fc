"""The decision memo: one screen that answers, then everything that the answer stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exp_platform.memo.content import Published, memo_content
from exp_platform.memo.data import data_section
from exp_platform.memo.files import write_memo
from exp_platform.memo.words import moment
from exp_platform.results.plan import Plan, in_force

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def run(ctx: StageContext) -> None:
    """Read what this run published, write Markdown, HTML and JSON, and pin the events that it stands on."""
    plan = Plan(ctx.experiment, ctx.metrics, ctx.dt, ctx.cutoff)
    published = Published(
        decisions=ctx.read_arrow("gold.fct_experiment_decision").to_pylist(),
        results=ctx.read_arrow("exp.analysis_results").to_pylist(),
        guardrails=ctx.read_arrow("gold.fct_experiment_guardrail_status").to_pylist(),
        checks=ctx.read_arrow("gold.fct_experiment_statistical_validation").to_pylist(),
        quality=ctx.read_arrow("gold.fct_experiment_exposure_quality_daily").to_pylist(),
        pretrend_tests=ctx.read_arrow("exp.did_pretrend_tests").to_pylist(),
        pretrend_deltas=ctx.read_arrow("exp.did_pretrend_delta").to_pylist(),
        looks=_looks(ctx, plan),
        data=data_section(
            ctx.rows("ops.run_manifest", run_id=ctx.run_id),
            ctx.rows("ops.ingested_files"),
            ctx.read_arrow("ops.quarantine", ["dataset", "rule", "count"]),
            ctx.rows("ops.contract_results", run_id=ctx.run_id),
        ),
    )
    about_run = {
        "run_id": ctx.run_id,
        "config_hash": ctx.config_hash,
        "code_version": ctx.code_version,
        "computed_at": moment(ctx.now),
    }
    content = memo_content(published, plan, about_run)
    path = write_memo(ctx.project, ctx.experiment_id, ctx.dt, content, latest=ctx.branch == "main")
    ctx.pin_inputs()
    ctx.log(f"{content['answer']['decision_label']} ({content['answer']['trust_label'].lower()}); memo: {path}")


def _looks(ctx: StageContext, plan: Plan) -> list[dict[str, Any]]:
    """The primary's deciding rows of every dt so far, for the first crossing."""
    if plan.primary is None:
        return []
    p_column = in_force("anytime", plan.primary.decision_scale)["p"]
    columns = ["dt", "metric_name", "variant_id", "status", "is_deciding", p_column]
    rows = ctx.read_arrow("exp.analysis_results", columns, all_dts=True).to_pylist()
    return [row for row in rows if row["is_deciding"] and row["metric_name"] == plan.primary.name]
