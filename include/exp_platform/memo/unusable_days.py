"""The memo's section on days that could not be used and on checks that were acknowledged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.config.models import Acknowledgement, Exclusion, Experiment
from exp_platform.decision.acknowledged import acknowledgement_of

Row = Mapping[str, Any]
_LEFT = {
    "assignments": "Users assigned on these days are not analysed.",
    "exposures": "Exposures of these days do not count; users who may first have been exposed then are not analysed.",
    "outcomes": "Outcomes of these days do not count, nor do users in a metric whose window holds one of them.",
}
_KEPT = (
    "Exposures of these days do not count. All assigned users are analysed; those who may first have been exposed then "
    "leave the comparison with the exposed ones."
)


def unusable_section(
    experiment: Experiment, excluded: Sequence[Row], quality: Sequence[Row], validation: Sequence[Row]
) -> dict[str, Any]:
    """The section from gold.fct_experiment_excluded_days and the rows of J2's and J7's checks; empty without either."""
    if not experiment.exclude and not experiment.acknowledge:
        return {}
    return {
        "excluded": [
            _excluded(i, one, excluded, experiment.analysis_mode) for i, one in enumerate(experiment.exclude, start=1)
        ],
        "acknowledged": [_acknowledged(one, (*quality, *validation)) for one in experiment.acknowledge],
    }


def _excluded(i: int, one: Exclusion, rows: Sequence[Row], analysis_mode: str) -> dict[str, Any]:
    mine = [row for row in rows if row["entry"] == i]
    return {
        "what": one.what,
        "dates": [day.isoformat() for day in one.dates],
        "reason": one.reason,
        "by": one.by,
        "sentence": _KEPT if one.what == "exposures" and analysis_mode == "itt" else _LEFT[one.what],
        "counts": [{name: row[name] for name in ("metric_name", "users", "of_users")} for row in mine],
    }


def _acknowledged(one: Acknowledgement, rows: Sequence[Row]) -> dict[str, Any]:
    """The acknowledgement with the failed and warning rows that it covers as of this day; there may be none."""
    mine = [row for row in rows if acknowledgement_of(row, (one,)) is not None]
    return {
        "check": one.check,
        "metric": one.metric,
        "dates": [day.isoformat() for day in one.dates],
        "reason": one.reason,
        "by": one.by,
        "count": len(mine),
        "rows": [
            {
                "status": row["status"],
                "date": row["date"].isoformat() if row.get("date") else None,
                "metric": row.get("metric_name"),
                "arm": row.get("variant_id"),
                "observed": row["observed"],
                "expected": row["expected"],
                "detail": row["detail"] or "",
            }
            for row in mine
        ],
    }
