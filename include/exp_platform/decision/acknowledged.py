"""Checks that failed or warned and were acknowledged: they cost no trust, and the memo names each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exp_platform.config.models import Acknowledgement
from exp_platform.status import CheckStatus

Row = Mapping[str, Any]
SPOKE_UP = (CheckStatus.FAIL.value, CheckStatus.WARN.value)


def acknowledgement_of(row: Row, acknowledged: Sequence[Acknowledgement]) -> Acknowledgement | None:
    """The acknowledgement that covers a check's row of J2 or J7; None for a row that is ok or that nobody covers."""
    if row["status"] not in SPOKE_UP:
        return None
    return next((a for a in acknowledged if a.covers(row["check_name"], row.get("metric_name"), row.get("date"))), None)


def counted(rows: Iterable[Row], acknowledged: Sequence[Acknowledgement]) -> list[Row]:
    """The rows of checks that count, that is all but the acknowledged ones."""
    return [row for row in rows if acknowledgement_of(row, acknowledged) is None]
