"""J8: is each guardrail held in each arm? Rows of gold.fct_experiment_guardrail_status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from exp_platform.results.analysis import NOT_TESTED
from exp_platform.results.deciding import Row, effect_of
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.guardrail import Guardrails, assess_guardrails
from exp_platform.status import GuardrailStatus, ResultStatus

NO_RELATIVE_EFFECT = "no_relative_effect"


def guardrail_rows(deciding: Mapping[tuple[str, str], Row], plan: AnalysisPlan) -> list[dict[str, Any]]:
    """One row per guardrail × treatment arm, by the deciding method and the interval in force.

    In a rollout a guardrail whose trends before could not be tested is inconclusive, whatever its interval: its change
    need not be one of the rollout. One whose trends differed has no answer.
    """
    pairs = [(g, arm.id) for g in plan.experiment.guardrails for arm in plan.experiment.treatments]
    if not pairs:
        return []
    rows = [deciding[guardrail.metric, arm] for guardrail, arm in pairs]
    verdicts = assess_guardrails(
        effect_of(rows),
        [guardrail.margin for guardrail, _ in pairs],
        [plan.metric(guardrail.metric).direction == "increase" for guardrail, _ in pairs],
        absolute=[guardrail.max_absolute_harm is not None for guardrail, _ in pairs],
        anytime=plan.interval_in_force == "anytime",
        alpha=plan.experiment.alpha,
    )
    kinds = ["relative" if guardrail.max_absolute_harm is None else "absolute" for guardrail, _ in pairs]
    return [_tested(row, _row(row, verdicts, i)) | {"margin_kind": kinds[i]} for i, row in enumerate(rows)]


def _tested(row: Row, found: dict[str, Any]) -> dict[str, Any]:
    """The verdict, or inconclusive where nobody could test the trends before the rollout."""
    if NOT_TESTED not in row["reason"].split(", "):
        return found
    return found | {"status": GuardrailStatus.INCONCLUSIVE.value, "reason": NOT_TESTED}


def _row(row: Row, verdicts: Guardrails, i: int) -> dict[str, Any]:
    numbers = {
        name: _null(getattr(verdicts, column)[i])
        for name, column in {
            "harm": "harm",
            "harm_low": "harm_low",
            "bound": "bound",
            "margin": "margin",
            "p_value": "p_harm",
            "p_value_adjusted": "p_harm_adjusted",
        }.items()
    }
    return {
        "metric_name": row["metric_name"],
        "variant_id": row["variant_id"],
        "effect_rel": row["effect_rel"],
        **numbers,
        "method": row["method"],
        "status": str(verdicts.status[i]),
        "reason": _reason(row, str(verdicts.status[i]), numbers),
    }


def _reason(row: Row, status: str, numbers: Mapping[str, float | None]) -> str:
    """Why the status is what it is, in words of the results table where there is no answer."""
    if row["status"] != ResultStatus.OK.value:
        return ", ".join(filter(None, (row["status"], row["reason"])))
    if numbers["harm"] is None:
        return row["reason"] or NO_RELATIVE_EFFECT
    if status == GuardrailStatus.PASS.value:
        return "bound_within_margin"
    return "harm_beyond_margin" if status == GuardrailStatus.FAIL.value else "bound_beyond_margin"


def _null(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
