"""The effect of amendments on the verdict: decisions by the sealed plan and by the present one on the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np

from exp_platform.config.models import Experiment, Guardrail, Metric
from exp_platform.config.policy import Policy
from exp_platform.decision.evidence import evidence, moment
from exp_platform.decision.rules import ALL, ArmDecision, decide
from exp_platform.decision.trust import TrustVerdict
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import AnalysisPlan, in_force
from exp_platform.results.seal import Content, changed_keys
from exp_platform.stats.multiplicity import holm
from exp_platform.status import ResultStatus

Row = Mapping[str, Any]
# A change of these changes the numbers themselves: published rows do not hold those of the sealed plan.
IN_THE_NUMBERS = ("alpha", "analysis_mode", "arms", "design", "exclude", "min_units", "start_ts")


@dataclass(frozen=True)
class VerdictEffect:
    """The decisions as of one dt by the sealed and by the present plan; arm -> word, `all` sums up."""

    dt: date
    present: Mapping[str, str]
    sealed: Mapping[str, str] | None  # None where the published results cannot tell
    unknown: tuple[str, ...] = ()  # the changed keys for which they cannot
    note: str = ""  # where the ends of the experiment or its streams differ: whom and what the results hold

    @property
    def text(self) -> str:
        """The effect as a sentence."""
        if self.sealed is None:
            changed = ", ".join(self.unknown)
            return (
                f"not to be told from the published results of {self.dt}: their numbers changed with {changed}; "
                f"the present plan gives {_word(self.present[ALL])}"
            )
        if self.sealed == self.present:
            return f"none as of {self.dt}: both plans give {_word(self.present[ALL])}{self.note}"
        return (
            f"as of {self.dt} the sealed plan gives {_told(self.sealed, self.present)}, the present one "
            f"{_told(self.present, self.sealed)}{self.note}"
        )


def effect_on_verdict(
    sealed: Content,
    present: Content,
    plan: AnalysisPlan,
    decisions: Mapping[str, str],
    results: Sequence[Row],
    pretrends: Sequence[Row],
    trust: TrustVerdict,
) -> VerdictEffect:
    """Decide once more by the sealed plan, on published rows; `trust` is that of the checks alone.

    `results` are the rows of exp.analysis_results of this dt, `decisions` those of the present plan by arm.
    """
    unknown = untold(sealed, present)
    if unknown:
        return VerdictEffect(plan.dt, decisions, None, unknown)
    verdicts = sealed_verdicts(sealed, plan, results, pretrends, trust)
    words = {verdict.variant_id: verdict.decision.value for verdict in verdicts}
    return VerdictEffect(plan.dt, decisions, words, note=_note(sealed, present, plan))


def untold(sealed: Content, present: Content) -> tuple[str, ...]:
    """The changes for which published results do not hold the numbers that the sealed plan asks for."""
    changed = changed_keys(sealed, present)
    needed = {sealed["primary_metric"], *sealed["guardrails"]} - {None}
    versions, now = sealed["metrics"], present["metrics"]
    metrics = [f"metrics.{name}" for name in sorted(needed) if versions.get(name) != now.get(name)]
    return (*(key for key in IN_THE_NUMBERS if key in changed), *metrics)


def sealed_verdicts(
    sealed: Content, plan: AnalysisPlan, results: Sequence[Row], pretrends: Sequence[Row], trust: TrustVerdict
) -> tuple[ArmDecision, ...]:
    """The decisions that the sealed plan gives on the rows of the present one."""
    then = sealed_plan(sealed, plan)
    rows = {
        (row["metric_name"], row["variant_id"]): dict(row)
        for row in results
        if row["segment"] == ALL and row["method"] == then.experiment.method_in_force
    }
    if then.primary is not None:
        _adjust([rows[then.primary.name, arm.id] for arm in then.experiment.treatments], then.primary, then)
    guardrails = guardrail_rows(rows, then)
    return decide(evidence(rows, guardrails, pretrends, then), trust, moment(then), _policy(sealed))


def sealed_plan(sealed: Content, plan: AnalysisPlan) -> AnalysisPlan:
    """The present plan with all that the sealed one says in place of what was amended."""
    guardrails = tuple(Guardrail(metric=name, **margin) for name, margin in sealed["guardrails"].items())
    experiment: Experiment = plan.experiment.model_copy(
        update={
            "primary_metric": sealed["primary_metric"],
            "guardrails": guardrails,
            "end_ts": datetime.fromisoformat(sealed["end_ts"]),
            "decision_method": sealed["decision_method"],
        }
    )
    metrics = tuple(_as_sealed(metric, sealed) for metric in plan.metrics)
    return replace(plan, experiment=experiment, metrics=metrics)


def _as_sealed(metric: Metric, sealed: Content) -> Metric:
    if metric.name != sealed["primary_metric"]:
        return metric
    scale = {"decision_scale": sealed["scale"], "practical_threshold": sealed["practical_threshold"]}
    copy: Metric = metric.model_copy(update=scale)
    return copy


def _policy(sealed: Content) -> Policy:
    known = {key: value for key, value in sealed["policy"].items() if key in Policy.model_fields}
    return Policy(description="As it was sealed.", **known)


def _adjust(rows: Sequence[dict[str, Any]], primary: Metric, plan: AnalysisPlan) -> None:
    """Put the p of the interval in force, after Holm over the arms, in the place of the published one."""
    column = in_force(plan.interval_in_force, primary.decision_scale)["p"]
    ok = [row["status"] == ResultStatus.OK.value and row[column] is not None for row in rows]
    p_value = np.array([row[column] if good else np.nan for row, good in zip(rows, ok, strict=True)], dtype=float)
    for row, adjusted in zip(rows, holm(p_value), strict=True):
        row["p_value_adjusted"] = float(adjusted) if np.isfinite(adjusted) else None


def _note(sealed: Content, present: Content, plan: AnalysisPlan) -> str:
    """Whom and which events the results hold, where both plans differ in it."""
    if "streams" not in changed_keys(sealed, present):
        return _end_note(sealed, plan)
    return f"{_end_note(sealed, plan)}; both stand on the events that the present plan reads"


def _end_note(sealed: Content, plan: AnalysisPlan) -> str:
    then, now = datetime.fromisoformat(sealed["end_ts"]), plan.experiment.end_ts
    if then == now or plan.cutoff <= min(then, now):
        return ""
    if now < then:
        return f"; the results hold nobody who came after the earlier end, {now:%Y-%m-%d %H:%M} UTC"
    return f"; the results also hold users who came after the sealed end, {then:%Y-%m-%d %H:%M} UTC"


def _told(mine: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The summary, with the arms that differ where there are several."""
    arms = [arm for arm in mine if arm != ALL]
    differing = [f"{arm}: {_word(mine[arm])}" for arm in arms if mine[arm] != other.get(arm)]
    return _word(mine[ALL]) + (f" ({', '.join(differing)})" if len(arms) > 1 and differing else "")


def _word(decision: str) -> str:
    return decision.replace("_", " ")
