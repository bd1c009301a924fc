"""The verdicts of the gates: from published rows to the sentence that makes a gate red, without Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exp_platform.alerts.model import harm
from exp_platform.decision.trust import exposures_failed, sample_ratio_failed
from exp_platform.status import GuardrailStatus, Trust

Row = Mapping[str, Any]


def quality_verdict(rows: Iterable[Row], analysis_mode: str) -> str | None:
    """One sentence on the failed checks of J2 that cost the result its trust; None without any."""
    failed = [row for row in rows if exposures_failed(row, analysis_mode)]
    if not failed:
        return None
    by_check: dict[str, list[Row]] = {}
    for row in failed:
        by_check.setdefault(row["check_name"], []).append(row)
    return "not trusted: " + "; ".join(_quality_words(name, group) for name, group in sorted(by_check.items()))


def _quality_words(check: str, rows: list[Row]) -> str:
    days = sorted(row["date"] for row in rows)
    worst = max(rows, key=lambda row: abs((row["observed"] or 0.0) - (row["expected"] or 0.0)))
    span = f"on {days[0]}" if len(days) == 1 else f"on {len(days)} days from {days[0]} to {days[-1]}"
    return (
        f"{check} failed {span} (on {worst['date']}: {_number(worst['observed'])} against {_number(worst['expected'])})"
    )


def srm_verdict(rows: Iterable[Row]) -> str | None:
    """One sentence on the failed sample-ratio tests; None without any."""
    failed = [row for row in rows if sample_ratio_failed(row)]
    if not failed:
        return None
    words = [
        f"{row['check_name']}: p = {_number(row['p_value'])}, threshold {_number(row['threshold'])}" for row in failed
    ]
    return "not trusted: the arms do not have the sizes that the registry promises (" + "; ".join(words) + ")"


def guardrail_verdict(rows: Iterable[Row]) -> str | None:
    """One sentence on the failed guardrails; None without any."""
    failed = [row for row in rows if row["status"] == GuardrailStatus.FAIL]
    if not failed:
        return None
    words = [
        f"{row['metric_name']} in {row['variant_id']}: effect {_percent(row['effect_rel'])}, "
        f"allowed harm {harm(row['margin'], row)}"
        for row in failed
    ]
    return "stop: " + "; ".join(words)


def withheld(decision: Row | None, guardrails: Iterable[Row]) -> str | None:
    """The reason why the experiment has not passed; None when it is trusted and no guardrail failed."""
    if decision is None:
        return "no decision was made"
    if decision["trust"] != Trust.TRUSTED:
        return f"trust is {decision['trust']}: {'; '.join(decision['reasons'])}"
    return guardrail_verdict(guardrails)


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.1%}"
