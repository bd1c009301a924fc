"""The answer of reuse for one table: everything, all but some cohort dates, or nothing, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from exp_platform.pipelines.dates import cutoff

EXPIRED = "has been expired, by maintenance or by somebody else"


@dataclass(frozen=True)
class Previous:
    """The rows that an earlier run published in a table, and the inputs that it read."""

    snapshot_id: int
    rows: int
    run_id: str
    inputs: Mapping[str, Any]  # table -> snapshot id, or the digest of another input
    notes: Mapping[str, Any]  # what that run stored with its rows for later runs
    dt: date

    @property
    def cutoff(self) -> datetime:
        """The earlier run saw the events before this instant."""
        return cutoff(self.dt)


@dataclass(frozen=True)
class Answer:
    """Which rows of a table are reused; `reason` completes a sentence in the log."""

    reason: str
    previous: Previous | None = None  # None: nothing is reused
    recompute: frozenset[date] | None = None  # cohort dates to recompute; None or empty: all rows are reused

    @property
    def is_everything(self) -> bool:
        """True when all rows are reused."""
        return self.previous is not None and not self.recompute

    @property
    def is_nothing(self) -> bool:
        """True when no row is reused."""
        return self.previous is None

    @property
    def is_dates(self) -> bool:
        """True when the rows of all cohort dates but those of `recompute` are reused."""
        return self.previous is not None and bool(self.recompute)


def nothing(reason: str) -> Answer:
    """The answer that no row is reused."""
    return Answer(reason)


def everything(previous: Previous, reason: str) -> Answer:
    """The answer that all rows are reused."""
    return Answer(reason, previous)
