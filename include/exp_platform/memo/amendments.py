"""The memo's section on the plan: what was sealed at the start, what was amended since, and what that does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from exp_platform.decision.amended import VerdictEffect
from exp_platform.memo import wording as words
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.seal import ABSENT_IS_EMPTY, Content, Seal, changed_keys, differences, whole

LABELS = {
    "hypothesis": "Hypothesis",
    "primary_metric": "Primary metric",
    "scale": "Decision scale",
    "practical_threshold": "Practical threshold",
    "guardrails": "Guardrails",
    "alpha": "Alpha",
    "start_ts": "Start",
    "end_ts": "End",
    "planned_end": "Planned end",
    "planned_users": "Planned users",
    "min_units": "Fewest units of an arm",
    "design": "Design",
    "analysis_mode": "Who is analysed",
    "decision_method": "Method that decides",
    "arms": "Arms",
    "metrics": "Metrics and versions",
    "policy": "Policy",
    "exclude": "Excluded days",
    "acknowledge": "Acknowledged checks",
    "streams": "Streams",
}


def plan_section(
    sealed: Sequence[Seal], now: Content, plan: AnalysisPlan, effect: VerdictEffect | None
) -> dict[str, Any]:
    """The section from the experiment's seals and the plan by which this run was decided."""
    first = sealed[0] if sealed else None
    return {
        "sealed": _seal(first) | {"days_after_start": _days_after_start(first)} if first else None,
        "facts": _facts(first.content if first else now, now),
        "amendments": [_seal(seal) for seal in sealed[1:]],
        "not_recorded": list(differences(sealed[-1].content, now)) if sealed else [],
        "rules": _rules(plan),
        "effect": effect.text if effect else None,
    }


def _seal(seal: Seal) -> dict[str, Any]:
    return {
        "seal": seal.number,
        "plan_hash": seal.plan_hash,
        "sealed_at": words.moment(seal.sealed_at),
        "dt": seal.dt.isoformat(),
        "run_id": seal.run_id,
        "started_by": seal.started_by,
        "changes": list(seal.changes),
        "effect": seal.effect,
    }


def _days_after_start(first: Seal) -> int:
    """Days from the start to the as-of day of the run that sealed the plan: more than a few are a plan made late."""
    return (first.dt - datetime.fromisoformat(first.content["start_ts"]).date()).days


def _facts(then: Content, now: Content) -> list[dict[str, Any]]:
    """Each key of the plan as it was sealed and, where it is another one, as it is now."""
    changed = changed_keys(then, now)
    unknown = {key for key in ABSENT_IS_EMPTY if key not in then and key not in now}
    then, now = ({k: v for k, v in whole(plan).items() if k not in unknown} for plan in (then, now))
    return [
        {
            "label": LABELS.get(key, key),
            "sealed": shown(value),
            "now": shown(now[key]) if key in changed else None,
        }
        for key, value in sorted(then.items(), key=lambda item: _order(item[0]))
    ]


def _order(key: str) -> tuple[int, str]:
    known = list(LABELS)
    return (known.index(key) if key in known else len(known), key)


def shown(value: Any) -> str:
    """A value of a plan as text; below a key each name with its value."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inner(item)}".strip() for key, item in sorted(value.items())) or "none"
    return "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return " ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _rules(plan: AnalysisPlan) -> list[str]:
    """The rules of the sealed plan that this run had to keep to, as sentences."""
    promise = plan.promise
    if promise is None:
        return []
    found = []
    if plan.end_moved_earlier:
        found.append(
            f"The end was moved from {words.moment(promise.end_ts)} to {words.moment(plan.experiment.end_ts)} after "
            "the start. The fixed-horizon interval was meant for the data up to the first end, so that the "
            "anytime-valid one stays in force."
        )
    elif plan.planned_end < promise.planned_end:
        found.append(
            f"The planned end is {words.moment(plan.planned_end)} now; the fixed-horizon interval still waits for the "
            f"first planned end, {words.moment(promise.planned_end)}."
        )
    if plan.primary_changed:
        found.append(
            f"The primary metric was {promise.primary_metric or 'none'} when the plan was sealed and is "
            f"{plan.experiment.primary_metric or 'none'} now: the result is exploratory until a new experiment."
        )
    if plan.experiment.planned_users != promise.planned_users:
        found.append(
            f"The anytime-valid interval stays tuned to the {promise.planned_users:,} users that were planned first."
        )
    return found
