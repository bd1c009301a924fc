"""The facts of a memo as plain data, by name: sections are made from them, and the JSON beside the memo holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.answers import ALL, Answers, Row, Rows
from exp_platform.memo.exposed_beside_all import exposure_rows
from exp_platform.memo.result_facts import judged_arms, mature_shares, method_rows, metric_rows, segment_rows
from exp_platform.memo.rollout import before_after_rows
from exp_platform.results.plan import AnalysisPlan, metric_end
from exp_platform.status import CheckStatus


def facts_of(published: Answers, plan: AnalysisPlan, run: Mapping[str, Any]) -> dict[str, Any]:
    """All facts of the memo; `run` holds run_id, config_hash, code_version and computed_at."""
    return {
        "experiment": _experiment(plan),
        "dt": plan.dt.isoformat(),
        "blocked": None,
        "answer": _answer(published, plan),
        "plan": _plan(published, plan),
        "sealed_plan": dict(published.sealed_plan),
        "unusable": dict(published.unusable),
        "guardrails": [_guardrail(row, published, plan) for row in published.guardrails],
        "metrics": metric_rows(published, plan),
        "exposure": exposure_rows(published.results, published.checks, plan),
        "before_after": before_after_rows(metric_rows(published, plan)),
        "methods": method_rows(published, plan),
        "checks": _checks(published),
        "quality": _quality(published.quality),
        "segments": segment_rows(published, plan),
        "pretrends": _pretrends(published, plan),
        "data": dict(published.data),
        "run": dict(run),
        **({"second_opinion": dict(published.second_opinion)} if published.second_opinion else {}),
    }


def _experiment(plan: AnalysisPlan) -> dict[str, Any]:
    e = plan.experiment
    return {
        "id": e.experiment_id,
        "name": e.name,
        "owner": e.owner,
        "hypothesis": e.hypothesis,
        "status": e.status,
        "next_due": next_due(plan),
        "start": words.moment(e.start_ts),
        "end": words.moment(e.end_ts),
        "design": e.design,
        "analysis_mode": e.analysis_mode,
        "primary_metric": e.primary_metric,
        "alpha": e.alpha,
        "planned_users": e.planned_users,
        "primary_title": plan.primary.title_in_force if plan.primary else None,
        "cluster": e.cluster,
        "arms": [{"id": v.id, "allocation": v.allocation, "is_control": v.is_control} for v in e.variants],
    }


def next_due(plan: AnalysisPlan) -> str | None:
    """The day (UTC) on which the next memo is due: daily, until the longest window has closed or the status says so."""
    last = max(metric_end(metric, plan.experiment) for metric in plan.metrics)
    if plan.experiment.status != "running" or plan.cutoff >= last:
        return None
    return (plan.dt + timedelta(days=2)).isoformat()


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
            "sentences": words.reason_lines(once(by_arm[arm.id]["reasons"], primary), names.titles(plan.metrics)),
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
        "sentences": words.reason_lines(once(summary["reasons"], primary), names.titles(plan.metrics)),
        "policy": summary["policy"],
        "arms": arms,
    }


def once(reasons: Sequence[str], primary: str | None) -> list[str]:
    """The reasons without a warning that tells of a cause a second time: trends that made the result invalid."""
    told = {"pretrends_failed", "pretrends_not_tested"} & set(reasons)
    return [reason for reason in reasons if not (told and reason == f"caution:pretrends:{primary}")]


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
        "mature_share": mature_shares(published.checks).get(primary.name) if primary else None,
    }


def _guardrail(row: Row, published: Answers, plan: AnalysisPlan) -> dict[str, Any]:
    metric = plan.metric(row["metric_name"])
    return {
        "metric": metric.name,
        "title": metric.title_in_force,
        "unit": metric.unit,
        "format": metric.format_in_force,
        "direction": metric.direction,
        "is_judged": row["variant_id"] in judged_arms(published),
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


def _checks(published: Answers) -> dict[str, Any]:
    """The sample-ratio checks, the checks that warned or failed, and the number of checks that passed."""
    columns = (
        *("check_name", "metric_name", "variant_id", "segment", "statistic", "p_value", "observed", "expected"),
        *("threshold", "status", "detail"),
    )
    rows = [{name: row[name] for name in columns} for row in published.checks]
    return {
        "all": [row for row in rows if row["check_name"] not in names.INFORMATION],
        "srm": [row for row in rows if row["check_name"].startswith("srm_") and row["segment"] == ALL],
        "spoke_up": [row for row in rows if row["status"] != CheckStatus.OK.value],
        "ok": sum(row["status"] == CheckStatus.OK.value and row["check_name"] not in names.INFORMATION for row in rows),
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
