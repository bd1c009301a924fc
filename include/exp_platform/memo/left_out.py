"""Who was left out and why: users of each arm by reason, rows of each dataset, and the count beside each check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from exp_platform.quality.verdicts import CHECKS

Row = Mapping[str, Any]
COHORT_COLUMNS = ("variant_id", "included", "exclusion_reason")
WORDS = {
    "conflicted_assignment": "were assigned to several arms",
    "assignment_outside_window": "were assigned outside the experiment's time",
    "excluded_date": "were assigned on a date that is excluded",
    "multi_variation_exposure": "saw several arms",
    "not_exposed": "were not validly exposed",
}


def left_out(cohort: pa.Table, daily: Sequence[Row], datasets: Sequence[Row], arms: Sequence[str]) -> dict[str, Any]:
    """Counts of users and rows that no number is made of.

    `cohort` has COHORT_COLUMNS of gold.fct_experiment_cohort, `daily` are rows of fct_experiment_quality_metrics_daily,
    `datasets` those of the memo's data section.
    """
    groups = cohort.group_by(list(COHORT_COLUMNS)).aggregate([([], "count_all")]).to_pylist()
    users = [_of_arm([row for row in groups if row["variant_id"] == arm], arm) for arm in arms]
    counted = ("dataset", "refused", "repeated", "streams")
    rows = [{name: row[name] for name in counted if name in row} for row in datasets]
    checks = check_counts(daily)
    return {"users": users, "rows": rows, "checks": checks, "lines": [*_user_lines(users), *_row_lines(rows)]}


def check_counts(daily: Sequence[Row]) -> list[dict[str, Any]]:
    """For each check of J2 the users that it speaks of, and those that it looks at, over all days and arms.

    >>> check_counts([{"any_exposure": 90, "assigned": 100}])[0]
    {'check_name': 'exposure_logging', 'users': 90, 'of': 100}
    """
    return [
        {
            "check_name": check.name,
            "users": sum(row.get(check.count) or 0 for row in daily),
            "of": sum(row.get(check.base) or 0 for row in daily),
        }
        for check in CHECKS
    ]


def _of_arm(mine: Sequence[Row], arm: str) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    for row in mine:
        if not row["included"]:
            reasons[row["exclusion_reason"]] += row["count_all"]
    return {
        "arm": arm,
        "assigned": sum(row["count_all"] for row in mine),
        "analysed": sum(row["count_all"] for row in mine if row["included"]),
        "reasons": dict(sorted(reasons.items())),
    }


def _user_lines(users: Sequence[Row]) -> list[str]:
    lines = []
    for row in users:
        reasons = [f"{count:,} {WORDS.get(reason, reason)}" for reason, count in row["reasons"].items()]
        why = f"; left out: {', '.join(reasons)}" if reasons else "; nobody is left out"
        lines.append(f"{row['arm']}: {row['analysed']:,} of {row['assigned']:,} assigned users are analysed{why}.")
    return lines


def _row_lines(rows: Sequence[Row]) -> list[str]:
    return [
        f"{_place(row)}: {row['refused'] or 0:,} rows refused, {row['repeated'] or 0:,} dropped because they repeat "
        "another."
        for row in rows
        if row["refused"] or row["repeated"]
    ]


def _place(row: Row) -> str:
    """The dataset; of one that is read from streams also whose rows are counted."""
    streams = row.get("streams", ())
    if not streams:
        return str(row["dataset"])
    return f"{row['dataset']} (of all users of the stream{'s' if len(streams) > 1 else ''} {', '.join(streams)})"
