"""Since when a problem has been there: the mornings, one after the other, on which it was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from exp_platform.alerts.model import Kind
from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables.names import ALERTS, DECISION, GUARDRAIL_STATUS
from exp_platform.status import GuardrailStatus

_REASONS = {  # how a decision's reason begins
    Kind.SECOND_OPINION_DIFFERS: "second_opinion_failed:",
    Kind.QUALITY_FAILED: "quality_failed:",
    Kind.SRM_FAILED: "srm_failed:",
}


@dataclass(frozen=True)
class Streak:
    """The first of the mornings on which a problem was found without a break, and their number."""

    since: date
    mornings: int

    @property
    def is_new(self) -> bool:
        """True when the problem was not there on the morning before."""
        return self.mornings == 1

    @property
    def words(self) -> str:
        """The streak as a message shows it."""
        return "new" if self.is_new else f"failing since {self.since}, {self.mornings} mornings"


@dataclass(frozen=True)
class History:
    """The days on which an experiment was analysed, and the days on which each kind of problem was found."""

    analysed: frozenset[date]
    found: Mapping[Kind, frozenset[date]]
    decisions: Mapping[date, tuple[str, str]]  # dt -> decision and trust, as stored

    def streak(self, kind: Kind, dt: date) -> Streak:
        """The streak of a problem that has just been found on `dt`."""
        return streak(self.found.get(kind, frozenset()), self.analysed, dt)

    def day_before(self, dt: date) -> date | None:
        """The last analysed day before `dt`."""
        return max((day for day in self.analysed if day < dt), default=None)


def streak(found: Iterable[date], analysed: Iterable[date], dt: date) -> Streak:
    """The streak that ends on `dt`; a day that was analysed without the problem breaks it, one without a run does not.

    >>> days = [date(2026, 2, day) for day in (1, 2, 3, 5)]
    >>> streak(days, [date(2026, 2, day) for day in (1, 2, 3, 4, 5)], date(2026, 2, 6)).words
    'failing since 2026-02-05, 2 mornings'
    """
    days = {day for day in found if day < dt} | {dt}
    healthy = max((day for day in analysed if day < dt and day not in days), default=date.min)
    unbroken = [day for day in days if day > healthy]
    return Streak(min(unbroken), len(unbroken))


def history_of(project: Project, experiment_id: str) -> History:
    """The history of an experiment from the verdicts of all its days and from the alerts on runs without a verdict."""
    catalog, key = load_catalog(project), {"experiment_id": experiment_id}
    decided = read_rows(load_handle(project, DECISION, catalog), key | {"variant_id": "all"})
    guardrails = read_rows(load_handle(project, GUARDRAIL_STATUS, catalog), key)
    alerts = read_rows(load_handle(project, ALERTS, catalog), key)
    analysed = frozenset(row["dt"] for row in decided)
    found = {
        kind: frozenset(row["dt"] for row in decided if any(word.startswith(begins) for word in row["reasons"]))
        for kind, begins in _REASONS.items()
    }
    failed = (row["dt"] for row in guardrails if row["status"] == GuardrailStatus.FAIL)
    found[Kind.GUARDRAIL_FAILED] = frozenset(failed)
    for kind in (Kind.CONTRACT_BROKEN, Kind.CONFIG_REFUSED, Kind.RUN_CRASHED):  # a day that was mended has a decision
        found[kind] = frozenset(row["dt"] for row in alerts if row["kind"] == kind) - analysed
    return History(analysed, found, {row["dt"]: (row["decision"], row["trust"]) for row in decided})
