"""The memo's content as plain data: it is the JSON file beside the memo, and the templates show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.memo import words
from exp_platform.memo.exposure import METHODS as BY_EXPOSURE
from exp_platform.memo.exposure import exposure_rows
from exp_platform.memo.rollout import before_after_rows
from exp_platform.results.plan import AnalysisPlan, Interval, in_force
from exp_platform.status import CheckStatus, ResultStatus

Row = Mapping[str, Any]
Rows = Sequence[Row]
ALL = "all"


@dataclass(frozen=True, eq=False)
class Answers:
    """The rows that the run published, one list per table."""

    decisions: Rows
    results: Rows  # exp.analysis_results of this dt
    guardrails: Rows
    checks: Rows  # gold.fct_experiment_statistical_validation
    quality: Rows  # gold.fct_experiment_exposure_quality_daily
    pretrend_tests: Rows
    pretrend_deltas: Rows
    looks: Rows = ()  # the primary's deciding rows of every dt so far
    data: Mapping[str, Any] = field(default_factory=dict)  # from memo.data
    sealed_plan: Mapping[str, Any] = field(default_factory=dict)  # from memo.amendments
    unusable: Mapping[str, Any] = field(default_factory=dict)  # from memo.unusable


def memo_content(published: Answers, plan: AnalysisPlan, run: Mapping[str, Any]) -> dict[str, Any]:
    """All content of the memo; `run` holds run_id, config_hash, code_version and computed_at."""
    return {
        "experiment": _experiment(plan),
        "dt": plan.dt.isoformat(),
        "blocked": None,
        "answer": _answer(published, plan),
        "plan": _plan(published, plan),
        "sealed_plan": dict(published.sealed_plan),
        "unusable": dict(published.unusable),
        "guardrails": [_guardrail(row) for row in published.guardrails],
        "metrics": metric_rows(published, plan),
        "exposure": exposure_rows(published.results, published.checks, plan),
        "before_after": before_after_rows(metric_rows(published, plan)),
        "methods": _methods(published, plan),
        "checks": _checks(published),
        "quality": _quality(published.quality),
        "segments": segment_rows(published, plan),
        "pretrends": _pretrends(published, plan),
        "data": dict(published.data),
        "run": dict(run),
    }


def _experiment(plan: AnalysisPlan) -> dict[str, Any]:
    e = plan.experiment
    return {
        "id": e.experiment_id,
        "name": e.name,
        "owner": e.owner,
        "hypothesis": e.hypothesis,
        "status": e.status,
        "start": words.moment(e.start_ts),
        "end": words.moment(e.end_ts),
        "design": e.design,
        "analysis_mode": e.analysis_mode,
        "primary_metric": e.primary_metric,
        "alpha": e.alpha,
        "planned_users": e.planned_users,
        "arms": [{"id": v.id, "allocation": v.allocation, "is_control": v.is_control} for v in e.variants],
    }


def _answer(published: Answers, plan: AnalysisPlan) -> dict[str, Any]:
    """Trust, decision and reasons of the experiment, and of each arm with its deciding row of the primary metric."""
    by_arm = {row["variant_id"]: row for row in published.decisions}
    summary = by_arm[ALL]
    primary = plan.experiment.primary_metric
    metrics = {(row["metric"], row["arm"]): row for row in metric_rows(published, plan)}
    arms = [
        {
            "arm": arm.id,
            "decision": by_arm[arm.id]["decision"],
            "decision_label": words.labels(words.DECISIONS, by_arm[arm.id]["decision"]),
            "reasons": list(by_arm[arm.id]["reasons"]),
            "sentences": words.reason_lines(by_arm[arm.id]["reasons"]),
            "primary": metrics.get((primary, arm.id)),
        }
        for arm in plan.experiment.treatments
    ]
    return {
        "trust": summary["trust"],
        "trust_label": words.labels(words.TRUSTS, summary["trust"]),
        "decision": summary["decision"],
        "decision_label": words.labels(words.DECISIONS, summary["decision"]),
        "reasons": list(summary["reasons"]),
        "sentences": words.reason_lines(summary["reasons"]),
        "policy": summary["policy"],
        "arms": arms,
    }


def _plan(published: Answers, plan: AnalysisPlan) -> dict[str, Any]:
    primary = plan.primary
    return {
        "planned_end": words.moment(plan.planned_end),
        "planned_end_reached": plan.planned_end_reached,
        "interval_in_force": plan.interval_in_force,
        "interval_label": words.interval_in_force(plan.interval_in_force, plan.planned_end_reached),
        "assignment_days": words.weekly_cycles(plan.assignment_days),
        "deciding_method": plan.experiment.method_in_force,
        "deciding_scale": primary.decision_scale if primary else None,
        "mature_share": _mature(published.checks).get(primary.name) if primary else None,
        "first_crossing": first_crossings(published.looks, plan),
        "first_look": min((row["dt"] for row in published.looks), default=plan.dt).isoformat(),
    }


def first_crossings(looks: Rows, plan: AnalysisPlan) -> dict[str, str | None]:
    """Arm -> the first dt among the kept results at which the primary's anytime-valid p was below alpha."""
    if plan.primary is None:
        return {}
    p_column = in_force("anytime", plan.primary.decision_scale)["p"]
    found: dict[str, str | None] = {arm.id: None for arm in plan.experiment.treatments}
    for row in sorted(looks, key=lambda r: r["dt"]):
        arm, p = row["variant_id"], row[p_column]
        crossed = row["status"] == ResultStatus.OK.value and p is not None and p < plan.experiment.alpha
        if crossed and row["dt"] <= plan.dt and arm in found and found[arm] is None:
            found[arm] = row["dt"].isoformat()
    return found


def _guardrail(row: Row) -> dict[str, Any]:
    return {
        "metric": row["metric_name"],
        "arm": row["variant_id"],
        "status": row["status"],
        "effect_rel": row["effect_rel"],
        "harm": row["harm"],
        "harm_low": row["harm_low"],
        "bound": row["bound"],
        "margin": row["margin"],
        "margin_kind": row["margin_kind"] or "relative",
        "p_value_adjusted": row["p_value_adjusted"],
        "reason": row["reason"],
        "sentence": words.sentences(row["reason"]),
    }


def metric_rows(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The deciding row of every metric × arm, the primary metric first."""
    order = {metric.name: i for i, metric in enumerate(plan.metrics)}
    rows = [row for row in published.results if row["is_deciding"]]
    mature = _mature(published.checks)
    rows.sort(key=lambda r: (r["metric_name"] != plan.experiment.primary_metric, order[r["metric_name"]]))
    return [_result(row, plan) | {"mature_share": mature.get(row["metric_name"])} for row in rows]


def segment_rows(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The primary metric's rows by segment, estimated by the deciding method."""
    chosen = [
        row
        for row in published.results
        if row["segment"] != ALL
        and row["metric_name"] == plan.experiment.primary_metric
        and row["method"] == plan.experiment.method_in_force
    ]
    return [
        _result(row, plan) | {"segment": row["segment"], "heterogeneity_p_value": row["heterogeneity_p_value"]}
        for row in sorted(chosen, key=lambda r: (r["variant_id"], r["segment"]))
    ]


def _methods(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """Rows of the whole cohort by every method that may decide, which show what the choice of method changes."""
    rows = [row for row in published.results if row["segment"] == ALL and row["method"] not in BY_EXPOSURE]
    order = {metric.name: i for i, metric in enumerate(plan.metrics)}
    return [_result(row, plan) for row in sorted(rows, key=lambda r: (order[r["metric_name"]], r["variant_id"]))]


def _result(row: Row, plan: AnalysisPlan) -> dict[str, Any]:
    metric = plan.metric(row["metric_name"])
    return result_numbers(row, metric, plan.interval_in_force) | {"role": _role(metric.name, plan)}


def result_numbers(row: Row, metric: Metric, interval: Interval) -> dict[str, Any]:
    """One result: effect and interval in force on the deciding scale, and the relative effect with its interval."""
    columns = in_force(interval, metric.decision_scale)
    relative = in_force(interval, "relative")
    effect, low, high = (row[columns[name]] for name in ("effect", "low", "high"))
    return {
        "metric": metric.name,
        "type": metric.type,
        "direction": metric.direction,
        "arm": row["variant_id"],
        "method": row["method"],
        "is_deciding": row["is_deciding"],
        "scale": metric.decision_scale,
        "status": row["status"],
        "reason": row["reason"],
        "sentence": words.sentences(row["reason"]),
        "control_n": row["control_n"],
        "treatment_n": row["treatment_n"],
        "control_mean": row["control_mean"],
        "treatment_mean": row["treatment_mean"],
        "control_pre_mean": row["control_pre_mean"],
        "treatment_pre_mean": row["treatment_pre_mean"],
        "effect": effect,
        "low": low,
        "high": high,
        "p_value": row[columns["p"]],
        "p_value_adjusted": row["p_value_adjusted"],
        "effect_rel": row[relative["effect"]],
        "rel_low": row[relative["low"]],
        "rel_high": row[relative["high"]],
        "practical_threshold": metric.practical_threshold,
        "mde": row["mde"],
        "variance_reduction": row["variance_reduction"],
        "variance_reduction_by_covariate": dict(row["variance_reduction_by_covariate"] or ()),
        "metric_version": row["metric_version"],
        "tone": tone(effect, low, high, metric.direction == "increase", row["p_value_adjusted"], row["alpha"]),
    }


def tone(
    effect: float | None,
    low: float | None,
    high: float | None,
    increase_is_good: bool,
    p_adjusted: float | None,
    alpha: float,
) -> str:
    """`better` or `worse` when the interval in force excludes 0 and an adjusted p is below alpha, else `unclear`."""
    if effect is None or low is None or high is None or low <= 0 <= high:
        return "unclear"
    if p_adjusted is not None and p_adjusted >= alpha:
        return "unclear"
    return "better" if (effect > 0) is increase_is_good else "worse"


def _role(name: str, plan: AnalysisPlan) -> str:
    if name == plan.experiment.primary_metric:
        return "primary"
    return "guardrail" if any(g.metric == name for g in plan.experiment.guardrails) else "secondary"


def _mature(checks: Rows) -> dict[str, float | None]:
    return {row["metric_name"]: row["observed"] for row in checks if row["check_name"] == "maturity"}


def _checks(published: Answers) -> dict[str, Any]:
    """The sample-ratio checks, the checks that warned or failed, and the number of checks that passed."""
    columns = (
        *("check_name", "metric_name", "variant_id", "segment", "statistic", "p_value", "observed", "expected"),
        *("threshold", "status", "detail"),
    )
    rows = [{name: row[name] for name in columns} for row in published.checks]
    return {
        "srm": [row for row in rows if row["check_name"].startswith("srm_") and row["segment"] == ALL],
        "spoke_up": [row for row in rows if row["status"] != CheckStatus.OK.value],
        "ok": sum(row["status"] == CheckStatus.OK.value for row in rows),
        "planned_users": next((row for row in rows if row["check_name"] == "planned_users"), None),
    }


def _quality(rows: Rows) -> list[dict[str, Any]]:
    """J2's checks: for each the number of judged days, and the days that did not pass."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["check_name"], []).append(row)
    return [
        {
            "check_name": name,
            "days": len(group),
            "status": _worst([row["status"] for row in group]),
            "not_ok": [
                {
                    "date": row["date"].isoformat(),
                    "status": row["status"],
                    "observed": row["observed"],
                    "expected": row["expected"],
                    "detail": row["detail"] or "",
                }
                for row in sorted(group, key=lambda r: r["date"])
                if row["status"] != CheckStatus.OK.value
            ],
        }
        for name, group in sorted(found.items())
    ]


def _worst(statuses: Sequence[str]) -> str:
    for status in (CheckStatus.FAIL.value, CheckStatus.WARN.value):
        if status in statuses:
            return status
    return CheckStatus.OK.value


def _pretrends(published: Answers, plan: AnalysisPlan) -> dict[str, Any]:
    """The pre-trend tests of every metric, and the daily differences of the primary metric."""
    columns = ("metric_name", "variant_id", "test", "statistic", "p_value_adjusted", "verdict", "reason")
    primary = plan.experiment.primary_metric
    deltas = [row for row in published.pretrend_deltas if row["metric_name"] == primary]
    return {
        "matters": plan.is_rollout,
        "tests": [{name: row[name] for name in columns} for row in published.pretrend_tests],
        "deltas": [
            {name: row[name] for name in ("variant_id", "relative_day", "delta", "ci_low", "ci_high")}
            for row in sorted(deltas, key=lambda r: (r["variant_id"], r["relative_day"]))
        ],
    }
