"""A pure model of the first tables: the events and assignments that a history of files and runs must have published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from exp_platform.pipelines.dates import cutoff

Row = tuple[Any, ...]  # an event in the order of world.COLUMNS, after the user
File = tuple[str, int, str]  # dataset, day, name


@dataclass
class Model:
    """The raw files of one experiment, and what its finished runs must have published."""

    start: datetime
    end: datetime
    files: dict[File, list[Row]] = field(default_factory=dict)
    latest: date | None = None  # the latest dt that a run has finished
    events: dict[str, frozenset[Row]] = field(default_factory=dict)
    assignments: frozenset[Row] = frozenset()

    def finished(self, dt: date) -> None:
        """A run has finished: events are those of the files, and a run of an older dt leaves the assignments alone."""
        datasets = {dataset for dataset, _, _ in self.files}
        self.events = {name: frozenset(self._rows(name)) for name in datasets}
        if self.latest is None or dt >= self.latest:
            self.latest = dt
            self.assignments = canonical(self.events["assignments"], cutoff(dt), self.start, self.end)

    def _rows(self, wanted: str) -> Iterable[Row]:
        return (row for (dataset, _, _), rows in self.files.items() if dataset == wanted for row in rows)


def canonical(events: Iterable[Row], until: datetime, start: datetime, end: datetime) -> frozenset[Row]:
    """User, arm, time, events, arms, conflicted, outside and valid of each user: the earliest event wins, ties by arm.

    >>> at = datetime(2026, 1, 5)
    >>> events = [("u", "b", at, "user"), ("u", "a", at, "user"), ("v", "b", at.replace(day=9), "user")]
    >>> sorted(canonical(events, at.replace(day=7), at, at.replace(day=20)))
    [('u', 'a', datetime.datetime(2026, 1, 5, 0, 0), 2, 2, True, False, False)]
    """
    by_user: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for user, arm, at, _ in events:
        if at < until:
            by_user[user].append((at, arm))
    return frozenset(_assignment(user, found, start, end) for user, found in by_user.items())


def _assignment(user: str, found: list[tuple[datetime, str]], start: datetime, end: datetime) -> Row:
    at, arm = min(found)
    arms = len({arm for _, arm in found})
    outside = not start <= at < end
    return (user, arm, at, len(found), arms, arms > 1, outside, arms == 1 and not outside)
