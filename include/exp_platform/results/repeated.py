"""Events that were dropped because they repeat another: many of them cast doubt on the metrics that read them."""

from __future__ import annotations

from typing import Any

from exp_platform.results.checks import CheckInputs, check_row
from exp_platform.status import CheckStatus

DUPLICATE_EVENTS = "duplicate_events"
LARGEST_SHARE = 0.01  # of a source's rows; above it the dropped rows may be events of their own


def repeated_checks(inputs: CheckInputs) -> list[dict[str, Any]]:
    """One warning for each metric with a source of whose rows more than 1% were dropped as exact duplicates."""
    rows = []
    for metric in inputs.plan.metrics:
        for source in metric.sources:
            total, dropped = inputs.repeated.get(source, (0, 0))
            if total and dropped / total > LARGEST_SHARE:
                detail = (
                    f"{dropped:,} of {total:,} rows of '{source}' repeat another in every column and were dropped; "
                    "where they are events of their own, map event_id"
                )
                share = dropped / total
                found = check_row(
                    DUPLICATE_EVENTS,
                    CheckStatus.WARN,
                    metric=metric.name,
                    observed=share,
                    threshold=LARGEST_SHARE,
                    detail=detail,
                )
                rows.append(found)
                break  # one row for each metric: its sources share the grain of the table
    return rows
