"""Write the decision memo: its first screen is the decision, the rest is the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, LessThan

from exp_platform.decision.trust import trust_of
from exp_platform.lake.publication import MAIN
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    COHORT,
    CONTRACT_RESULTS,
    DECISION,
    EXCLUDED_DAYS,
    EXPOSURE_QUALITY_DAILY,
    EXPOSURE_VALIDATION,
    GUARDRAIL_STATUS,
    INGESTED_FILES,
    METRIC_AGGREGATES_DAILY,
    METRIC_SERIES,
    METRIC_STATISTICS,
    PRETREND_DELTA,
    PRETREND_TESTS,
    QUALITY_METRICS_DAILY,
    QUARANTINE,
    RUN_MANIFEST,
    SECOND_OPINIONS,
    STATISTICAL_VALIDATION,
)
from exp_platform.ledger.pins import pin_inputs
from exp_platform.ledger.second_opinions import last_opinion
from exp_platform.memo.amendments import plan_section
from exp_platform.memo.answers import Answers
from exp_platform.memo.cards import is_loud, spoke_since
from exp_platform.memo.content import memo_content
from exp_platform.memo.data import data_section
from exp_platform.memo.left_out import COHORT_COLUMNS, left_out
from exp_platform.memo.memo_files import write_memo
from exp_platform.memo.unusable_days import unusable_section
from exp_platform.memo.wording import moment
from exp_platform.pipelines.read_last_run import since_last_run
from exp_platform.pipelines.registry import EVENTS
from exp_platform.pipelines.sealed_plan import content_now, plan_of, seals_of, verdict_effect
from exp_platform.quality.docs import write_docs_of
from exp_platform.results.plan import AnalysisPlan, in_force
from exp_platform.results.series import age_series, effect_series, exposure_quality_series, units_series
from exp_platform.results.series_points import EffectSeries
from exp_platform.results.uncapped import calendar_sums
from exp_platform.schemas import load_schema

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

MICROS_PER_HOUR = 3_600_000_000
SPOKEN = ("dt", "check_name", "metric_name", "status")  # of the checks of every dt so far


def run(ctx: StageContext) -> None:
    """Read what this run published; write the memo and the page of data docs; pin the run's event snapshots."""
    plan = plan_of(ctx)
    quality, checks = (ctx.read.arrow(table).to_pylist() for table in (EXPOSURE_QUALITY_DAILY, STATISTICAL_VALIDATION))
    data = data_section(
        ctx.read.rows(RUN_MANIFEST, run_id=ctx.run.run_id),
        files_read(ctx),
        ctx.read.arrow(QUARANTINE, ["dataset", "rule", "count"]),
        ctx.read.rows(CONTRACT_RESULTS, run_id=ctx.run.run_id),
        events_used(ctx, plan),
        ctx.run.experiment.streams,
    )
    results, effects = ctx.read.arrow(ANALYSIS_RESULTS).to_pylist(), _effects(ctx, plan)
    published = Answers(
        decisions=ctx.read.arrow(DECISION).to_pylist(),
        results=results,
        guardrails=ctx.read.arrow(GUARDRAIL_STATUS).to_pylist(),
        checks=checks,
        quality=quality,
        pretrend_tests=ctx.read.arrow(PRETREND_TESTS).to_pylist(),
        pretrend_deltas=ctx.read.arrow(PRETREND_DELTA).to_pylist(),
        looks=_looks(ctx, plan),
        effects=effects,
        ages=age_series(ctx.read.arrow(METRIC_STATISTICS), plan),
        units=units_series(ctx.read.arrow(QUALITY_METRICS_DAILY).to_pylist(), plan),
        quality_days=exposure_quality_series(quality),
        unusable=unusable_section(ctx.run.experiment, ctx.read.arrow(EXCLUDED_DAYS).to_pylist(), quality, checks),
        data=data | {"left_out": _left_out(ctx, plan, data)},
        uncapped=calendar_sums(ctx.read.arrow(METRIC_AGGREGATES_DAILY)),
        moved=since_last_run(ctx, plan, results, effects),
        spoke_since=spoke_since(ctx.read.arrow(STATISTICAL_VALIDATION, SPOKEN, all_dts=True).to_pylist(), plan.dt),
        leads=_leads(ctx, quality),
        second_opinion=_second_opinion(ctx),
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
    write_docs_of(ctx.run.project, ctx.run.experiment_id, ctx.read.rows(CONTRACT_RESULTS))
    ctx.log(f"{content['answer']['decision_label']} ({content['answer']['trust_label'].lower()}); memo: {path}")


def pin_events(ctx: StageContext) -> None:
    """Tag the event snapshots of this run, so that maintenance keeps them readable for a reproduction."""
    run, pins = ctx.run, ctx.read.pins
    known = pins.published.keys() | pins.read.keys()
    stored = {table: ctx.read.stored_in(table) for table in EVENTS}
    snapshots = {name: ctx.read.snapshot_of(table) for table, name in stored.items() if name in known}
    days = None if run.experiment.status == "concluded" else run.project.profile.pins.retain_days
    kept = pin_inputs(run.project, run.experiment_id, run.run_id, snapshots, days, ctx.now, ctx.read.catalog)
    ctx.log(f"pinned {', '.join(kept) or 'no table'} {f'for {days} days' if days else 'without limit'}")


def _left_out(ctx: StageContext, plan: AnalysisPlan, data: dict[str, Any]) -> dict[str, Any]:
    """Users and rows that no number is made of, with their reasons."""
    daily = ctx.read.arrow(QUALITY_METRICS_DAILY).to_pylist()
    return left_out(ctx.read.arrow(COHORT, COHORT_COLUMNS), daily, data["datasets"], plan.arms)


def _leads(ctx: StageContext, quality: list[dict[str, Any]]) -> list[float]:
    """Hours by which users' first exposures lie before their assignment; read only where a check speaks of them."""
    if not any(row["check_name"] == "pre_assignment_exposure" and is_loud(row) for row in quality):
        return []
    columns = ("pre_assignment_exposure", "first_exposure_utc", "assignment_time_utc")
    users = ctx.read.arrow(EXPOSURE_VALIDATION, columns)
    early = users.filter(users["pre_assignment_exposure"])
    micros = pc.subtract(early["assignment_time_utc"].cast(pa.int64()), early["first_exposure_utc"].cast(pa.int64()))
    return [value / MICROS_PER_HOUR for value in micros.to_pylist() if value is not None and value > 0]


def _sealed_plan(ctx: StageContext, plan: AnalysisPlan, published: Answers) -> dict[str, Any]:
    """The section on the sealed plan, with the effect of its amendments on this run's decisions."""
    decisions = {row["variant_id"]: row["decision"] for row in published.decisions}
    checks = published.quality, published.checks, plan.experiment.analysis_mode, plan.deciding_metrics
    effect = verdict_effect(
        ctx,
        plan,
        decisions,
        lambda: published.results,
        published.pretrend_tests,
        lambda by: trust_of(*checks, acknowledged=by, differing=published.second_opinion.get("metrics", ())),
    )
    return plan_section(seals_of(ctx), content_now(ctx), plan, effect)


def _effects(ctx: StageContext, plan: AnalysisPlan) -> tuple[EffectSeries, ...]:
    """The effects by day from the series of J5; none while it has no rows, and the memo shows what runs published."""
    series = ctx.read.arrow(METRIC_SERIES)
    return effect_series(series, plan, ctx.read.arrow(ANALYSIS_RESULTS, all_dts=True)) if series.num_rows else ()


def files_read(ctx: StageContext) -> list[dict[str, Any]]:
    """The files that the experiment's events came from: its own, or those of the streams that it reads.

    Files of a copy that it had before it moved to a stream are among neither.
    """
    owners = [owner for view in ctx.run.stream_views.values() for owner in view.owners]
    rows = ctx.read.rows(INGESTED_FILES, experiment_id=(ctx.run.experiment_id, *owners))
    streamed = ctx.run.experiment.streams
    return [row for row in rows if (row["dataset"] in streamed) is (row["experiment_id"] in owners)]


def _second_opinion(ctx: StageContext) -> dict[str, Any]:
    """The verdict of a second implementation on this run's numbers, or on those of the last run that it has checked."""
    found = last_opinion(ctx.read.rows(SECOND_OPINIONS), ctx.run.run_id, ctx.run.dt)
    if found is None or (found.run_id != ctx.run.run_id and not found.differ):
        return {}
    return {
        "sentence": found.sentence,
        "compared": found.compared,
        "differ": found.differ,
        "not_checked": found.not_checked,
        "metrics": list(found.metrics),
        "detail": found.detail,
        "run_id": found.run_id,
        "dt": found.dt.isoformat(),
        "checked_at": moment(found.checked_at),
    }


def events_used(ctx: StageContext, plan: AnalysisPlan) -> dict[str, int]:
    """The events of each dataset before the cut-off, counted from the files' own statistics where these are enough.

    Of a stream these are the events that the experiment may read: those of its names, by any user.
    """
    known = ctx.read.pins.published.keys() | ctx.read.pins.read.keys()
    found = {}
    for table in (name for name in EVENTS if ctx.read.stored_in(name) in known):
        dataset = table.removeprefix("exp.")
        column = load_schema(dataset)["x-event-time"]
        seen = And(ctx.read.row_filter(table), LessThan(column, plan.cutoff.isoformat()))
        scan = ctx.read.handle(table).scan(row_filter=seen, snapshot_id=ctx.read.snapshot_of(table))
        found[dataset] = scan.select(column).count()
    return found


def _looks(ctx: StageContext, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The primary metric's deciding rows of every dt so far: the first clear day, and the effect by day."""
    if plan.primary is None:
        return []
    scale = plan.primary.decision_scale
    numbers = {column for kind in ("anytime", "fixed") for column in in_force(kind, scale).values()}
    columns = ["dt", "metric_name", "variant_id", "status", "is_deciding", "reason", *sorted(numbers)]
    more = ["control_n", "treatment_n", "control_mean", "treatment_mean"]
    rows = ctx.read.arrow(ANALYSIS_RESULTS, [*columns, *more], all_dts=True).to_pylist()
    return [row for row in rows if row["is_deciding"] and row["metric_name"] == plan.primary.name]
