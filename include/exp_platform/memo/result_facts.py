"""Rows of results as facts: numbers with their unit, the verdict, and the checks that spoke up about them."""

from __future__ import annotations

from typing import Any

from exp_platform.config.models import Metric
from exp_platform.memo import wording as words
from exp_platform.memo.answers import ALL, Answers, Row, Rows
from exp_platform.memo.exposed_beside_all import METHODS as BY_EXPOSURE
from exp_platform.results.plan import AnalysisPlan, Interval, in_force
from exp_platform.status import CheckStatus, Decision, ResultStatus, Trust


def metric_rows(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The deciding row of every metric × arm, the primary metric first."""
    order = {metric.name: i for i, metric in enumerate(plan.metrics)}
    rows = [row for row in published.results if row["is_deciding"]]
    mature, judged = mature_shares(published.checks), judged_arms(published)
    rows.sort(key=lambda r: (r["metric_name"] != plan.experiment.primary_metric, order[r["metric_name"]]))
    return [
        _judged(_result(row, plan), judged)
        | {"mature_share": mature.get(row["metric_name"]), "marks": _marks(row, published.checks)}
        for row in rows
    ]


def judged_arms(published: Answers) -> frozenset[str]:
    """The arms whose numbers may be read as effects: those that are not invalid, and none without trust."""
    rows = [row for row in published.decisions if row["variant_id"] != ALL]
    invalid = Decision.INVALID.value
    return frozenset(
        r["variant_id"] for r in rows if r["decision"] != invalid and r["trust"] != Trust.NOT_TRUSTED.value
    )


def _judged(row: dict[str, Any], judged: frozenset[str]) -> dict[str, Any]:
    """A result with the word whether it may be read as an effect; where it may not, it is neither better nor worse."""
    is_judged = row["arm"] in judged and row["status"] != ResultStatus.FAILED_PRETRENDS.value
    return row | {"is_judged": is_judged, "tone": row["tone"] if is_judged else "unclear"}


def _marks(row: Row, checks: Rows) -> list[str]:
    """The checks that spoke up about this metric and this arm, or control."""
    mine = {row["variant_id"], "control", ALL}
    return sorted(
        {
            check["check_name"]
            for check in checks
            if check["metric_name"] == row["metric_name"]
            and check["status"] != CheckStatus.OK.value
            and (check["variant_id"] in mine)
        }
    )


def segment_rows(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """The primary metric's rows by segment, estimated by the deciding method."""
    chosen = [
        row
        for row in published.results
        if row["segment"] != ALL
        and row["metric_name"] == plan.experiment.primary_metric
        and row["method"] == plan.experiment.method_in_force
    ]
    judged = judged_arms(published)
    return [
        _judged(_result(row, plan), judged)
        | {"segment": row["segment"], "heterogeneity_p_value": row["heterogeneity_p_value"]}
        for row in sorted(chosen, key=lambda r: (r["variant_id"], r["segment"]))
    ]


def method_rows(published: Answers, plan: AnalysisPlan) -> list[dict[str, Any]]:
    """Rows of the whole cohort by every method that may decide, which show what the choice of method changes."""
    rows = [row for row in published.results if row["segment"] == ALL and row["method"] not in BY_EXPOSURE]
    order = {metric.name: i for i, metric in enumerate(plan.metrics)}
    judged = judged_arms(published)
    return [
        _judged(_result(row, plan), judged)
        for row in sorted(rows, key=lambda r: (order[r["metric_name"]], r["variant_id"]))
    ]


def _result(row: Row, plan: AnalysisPlan) -> dict[str, Any]:
    metric = plan.metric(row["metric_name"])
    return result_numbers(row, metric, plan.interval_in_force) | {"role": _role(metric.name, plan)}


def result_numbers(row: Row, metric: Metric, interval: Interval) -> dict[str, Any]:
    """One result: effect and interval in force on the deciding scale, and the relative effect with its interval."""
    columns = in_force(interval, metric.decision_scale)
    relative, absolute = in_force(interval, "relative"), in_force(interval, "absolute")
    effect, low, high = (row[columns[name]] for name in ("effect", "low", "high"))
    return {
        "metric": metric.name,
        "title": metric.title_in_force,
        "unit": metric.unit,
        "format": metric.format_in_force,
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
        "effect_abs": row[absolute["effect"]],
        "abs_low": row[absolute["low"]],
        "abs_high": row[absolute["high"]],
        "alpha": row["alpha"],
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


def mature_shares(checks: Rows) -> dict[str, float | None]:
    return {row["metric_name"]: row["observed"] for row in checks if row["check_name"] == "maturity"}
