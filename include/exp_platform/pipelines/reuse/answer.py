"""What an earlier publication answers for a table: everything, some cohort dates, or nothing, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from exp_platform.pipelines.dates import cutoff


@dataclass(frozen=True)
class Previous:
    """The rows that an earlier run left in a table, and what that run had read."""

    snapshot_id: int
    rows: int
    run_id: str
    inputs: Mapping[str, Any]  # table -> snapshot id, or the digest of another input
    notes: Mapping[str, Any]  # what else the run said of its rows
    dt: date

    @property
    def cutoff(self) -> datetime:
        """Events from this instant on the earlier run had not seen."""
        return cutoff(self.dt)


@dataclass(frozen=True)
class Answer:
    """What may stay of a table's rows; `reason` is a sentence's end for the log."""

    reason: str
    previous: Previous | None = None  # None: nothing may stay
    recompute: frozenset[date] | None = None  # the cohort dates that may not stay; None: all rows may

    @property
    def is_everything(self) -> bool:
        """All rows may stay."""
        return self.previous is not None and not self.recompute

    @property
    def is_nothing(self) -> bool:
        """No row may stay."""
        return self.previous is None

    @property
    def is_dates(self) -> bool:
        """The rows of some cohort dates may stay, those of `recompute` may not."""
        return self.previous is not None and bool(self.recompute)


def nothing(reason: str) -> Answer:
    """All rows are computed anew."""
    return Answer(reason)


def everything(previous: Previous, reason: str) -> Answer:
    """All rows stay."""
    return Answer(reason, previous)
