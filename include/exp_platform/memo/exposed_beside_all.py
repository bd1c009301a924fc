"""The memo's section on exposure: the effect on all assigned users beside that on the exposed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.memo import wording as words
from exp_platform.memo.figures import Unit, p_is
from exp_platform.results.plan import AnalysisPlan, in_force
from exp_platform.status import CheckStatus, Method, ResultStatus

Row = Mapping[str, Any]
METHODS = (Method.ITT, Method.EXPOSED, Method.DILUTED, Method.COMPLIER)


def exposure_rows(results: Sequence[Row], checks: Sequence[Row], plan: AnalysisPlan) -> list[dict[str, Any]]:
    """One row for each metric × arm with an effect on all assigned users, the primary metric first."""
    found = {(r["metric_name"], r["variant_id"], r["method"]): r for r in results if r["method"] in METHODS}
    agreement = {(r["metric_name"], r["variant_id"]): r for r in checks if r["check_name"] == "exposure_agreement"}
    rows = []
    for metric in sorted(plan.metrics, key=lambda m: m.name != plan.experiment.primary_metric):
        for arm in plan.experiment.treatments:
            mine = {method.value: found.get((metric.name, arm.id, method.value)) for method in METHODS}
            itt, exposed = mine[Method.ITT], mine[Method.EXPOSED]
            if itt is None or exposed is None:
                continue
            check = agreement.get((metric.name, arm.id))
            row: dict[str, Any] = {
                "metric": metric.name,
                "title": metric.title_in_force,
                "unit": metric.unit,
                "format": metric.format_in_force,
                "arm": arm.id,
                "exposed_share": _share(itt, exposed),
                "agree": None if check is None else check["status"] == CheckStatus.OK.value,
                "agree_p_value": None if check is None else check["p_value"],
                **{method: _effect(found_row, plan) for method, found_row in mine.items()},
            }
            rows.append(row | {"sentence": _sentence(row)})
    return rows


def _share(itt: Row, exposed: Row) -> float | None:
    everyone, some = ((r["control_n"] or 0) + (r["treatment_n"] or 0) for r in (itt, exposed))
    return some / everyone if everyone else None


def _effect(row: Row | None, plan: AnalysisPlan) -> dict[str, Any]:
    """Effect and interval in force in the metric's unit, which all four have."""
    if row is None or row["status"] != ResultStatus.OK.value:
        return {"effect": None, "low": None, "high": None, "why": words.sentences(row["reason"]) if row else ""}
    columns = in_force(plan.interval_in_force, "absolute")
    return {name: row[columns[name]] for name in ("effect", "low", "high")} | {"why": ""}


def shown(row: Row, method: str) -> str:
    """One of a row's effects with its interval, as text."""
    of, unit = row[method], Unit.of(row, "absolute")
    if None in (of["effect"], of["low"], of["high"]):
        return "–"
    digits = unit.decimals(of["high"] - of["low"])
    return f"{unit.change(of['effect'], digits)} ({unit.bare(of['low'], digits)} to {unit.bare(of['high'], digits)})"


def _sentence(row: Row) -> str:
    """The effects together in a few sentences."""
    parts = [f"{words.percent(row['exposed_share'])} of the assigned users were exposed."]
    if row["itt"]["effect"] is not None:
        parts.append(f"The effect on all assigned users is {shown(row, 'itt')}.")
    if row["diluted"]["effect"] is not None:
        parts.append(
            f"On the exposed ones it is {shown(row, 'exposed')}; diluted to all users that is {shown(row, 'diluted')}."
        )
    elif row["exposed"]["effect"] is not None:
        parts.append(f"On the exposed ones it is {shown(row, 'exposed')}.")
    if row["agree"]:
        parts.append(f"Assigned and diluted, the two agree within their error ({p_is(row['agree_p_value'])}).")
    elif row["agree"] is not None:
        why = "users who were not exposed have an effect too, or the treatment changes who is exposed"
        parts.append(f"Assigned and diluted, the two do not agree ({p_is(row['agree_p_value'])}): {why}.")
    if row["complier"]["effect"] is not None:
        parts.append(f"On users whom the treatment reached it is {shown(row, 'complier')}.")
    return " ".join(parts)
