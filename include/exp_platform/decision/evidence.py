"""From published rows to the evidence that the rules read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.causal.clustered import FEW_CLUSTERS, SINGLE_CLUSTER
from exp_platform.causal.did import UNIT_LEVEL_ERRORS
from exp_platform.causal.lacking import NOT_SEEN_TWICE
from exp_platform.config.models import Metric
from exp_platform.decision.rivals import beaten
from exp_platform.decision.rules import ArmEvidence, Moment, Primary
from exp_platform.results.plan import AnalysisPlan, in_force
from exp_platform.results.pretrend_rows import joint_verdict
from exp_platform.status import PretrendVerdict

Row = Mapping[str, Any]
NO_DAILY_PANEL = "no_daily_panel"  # of max, mean, last, ratio and quantile, or nobody has an event before
OPTIMISTIC = (FEW_CLUSTERS, SINGLE_CLUSTER, UNIT_LEVEL_ERRORS)


def evidence(
    deciding: Mapping[tuple[str, str], Row], guardrails: Sequence[Row], pretrends: Sequence[Row], plan: AnalysisPlan
) -> list[ArmEvidence]:
    """One record per treatment arm, in the registry's order."""
    primary, treatments = plan.primary, plan.experiment.treatments
    rows = {arm.id: deciding[primary.name, arm.id] for arm in treatments} if primary else {}
    better = beaten(list(rows.values()), primary, plan) if primary else {}
    return [
        ArmEvidence(
            variant_id=arm.id,
            primary=_primary(rows[arm.id], primary, plan) if primary else None,
            guardrails=tuple((g["metric_name"], g["status"]) for g in guardrails if g["variant_id"] == arm.id),
            pretrends=_pretrends(pretrends, arm.id, plan),
            untested=_untested(pretrends, arm.id, rows.get(arm.id), plan),
            doubts=_doubts(rows[arm.id]) if primary else (),
            beats=better.get(arm.id, ()),
        )
        for arm in treatments
    ]


def moment(plan: AnalysisPlan) -> Moment:
    """Where the experiment stands as of the plan's dt."""
    days = int((plan.cutoff - plan.experiment.start_ts).total_seconds() // 86_400)
    return Moment(plan.planned_end_reached, days, plan.experiment.alpha, exploratory(plan))


def exploratory(plan: AnalysisPlan) -> tuple[str, ...]:
    """Why no decision can rest on the result: another metric decides than was sealed at the start."""
    if plan.promise is None or not plan.primary_changed:
        return ()
    return (f"primary_changed:{plan.promise.primary_metric or 'none'} to {plan.experiment.primary_metric or 'none'}",)


def _doubts(row: Row) -> tuple[str, ...]:
    """The reasons of an answer for which its error may be too small."""
    return tuple(word for word in row["reason"].split(", ") if word in OPTIMISTIC)


def _pretrends(tests: Sequence[Row], arm: str, plan: AnalysisPlan) -> str | None:
    if not plan.is_rollout or plan.primary is None:
        return None
    primary = plan.primary.name
    return joint_verdict(t["verdict"] for t in tests if t["variant_id"] == arm and t["metric_name"] == primary)


def _untested(tests: Sequence[Row], arm: str, row: Row | None, plan: AnalysisPlan) -> tuple[str, ...]:
    """Why nobody can test the trend of the primary metric before the rollout; empty where it was tested."""
    if _pretrends(tests, arm, plan) != PretrendVerdict.INSUFFICIENT_DATA or plan.primary is None:
        return ()
    if row is not None and NOT_SEEN_TWICE in row["reason"].split(", "):
        return (NOT_SEEN_TWICE,)
    mine = [t for t in tests if t["variant_id"] == arm and t["metric_name"] == plan.primary.name]
    words = [w for t in mine if t["verdict"] == PretrendVerdict.INSUFFICIENT_DATA for w in t["reason"].split(", ") if w]
    return tuple(dict.fromkeys(words)) if mine else (NO_DAILY_PANEL,)


def _primary(row: Row, metric: Metric, plan: AnalysisPlan) -> Primary:
    columns = in_force(plan.interval_in_force, metric.decision_scale)
    return Primary(
        status=row["status"],
        reason=row["reason"],
        effect=row[columns["effect"]],
        low=row[columns["low"]],
        high=row[columns["high"]],
        p_value_adjusted=row["p_value_adjusted"],
        increase_is_good=metric.direction == "increase",
        practical_threshold=metric.practical_threshold,
    )
