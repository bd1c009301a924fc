"""The section on days that could not be used and on checks that were acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Bullets, Section
from exp_platform.memo.published import Source

Row = Mapping[str, Any]
_SHOWN = 5  # verdicts of an acknowledged check


def unusable(source: Source) -> Section | None:
    """Each exclusion and each acknowledgement with its reason, its author and its count; None without any."""
    found = source.facts["unusable"]
    if not found:
        return None
    items = (*map(_excluded, found["excluded"]), *map(_acknowledged, found["acknowledged"]))
    return Section("set-aside", "Days and checks that were set aside", (Bullets(items),))


def _excluded(row: Row) -> str:
    about = f"{row['what'].capitalize()} of {_days(row['dates'])} are excluded: {row['reason']} ({row['by']})."
    counts = "; ".join(_count(count) for count in row["counts"])
    return f"{about} {row['sentence']} {counts + '.' if counts else ''}".strip()


def _count(count: Row) -> str:
    subject = "" if count["metric_name"] == "all" else f"{count['metric_name']}: "
    return f"{subject}{count['users']:,} of {count['of_users']:,} users"


def _acknowledged(row: Row) -> str:
    subject = names.check_name(row["check"]) + (f" of {row['metric']}" if row["metric"] else "")
    days = f" on {_days(row['dates'])}" if row["dates"] else ""
    many = "1 verdict does" if row["count"] == 1 else f"{row['count']:,} verdicts do"
    told = "".join(
        f"; {names.day(one['date']) if one['date'] else one['metric']}: {one['status']}, {one['detail']}"
        for one in row["rows"][:_SHOWN]
    )
    return f"{subject}{days} is acknowledged: {row['reason']} ({row['by']}). {many} not count{told}."


def _days(dates: list[str]) -> str:
    return ", ".join(names.day(day) for day in dates)
