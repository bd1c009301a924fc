"""Running values of units by day, from what the events of each unit × source × day add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.metrics.values import Period, UnitValue
from exp_platform.sums.event_columns import put_together
from exp_platform.sums.event_days import EventDays
from exp_platform.sums.exact_sums import Numbers

Codes = NDArray[np.int64]
COLUMNS = {
    "sum": ("hi", "lo"),
    "count": ("n",),
    "any": ("positive",),
    "max": ("max",),
    "mean": ("hi", "lo", "n"),
    "last": ("last",),
}


@dataclass(frozen=True)
class DaySlots:
    """The windows in which each source's events count; the place of a window names its columns, `hi0`, `n1`, …"""

    windows: Mapping[str, tuple[Period, ...]]  # by source
    columns: tuple[str, ...]  # kinds of columns that any value needs, beside the number of events
    far: bool = False  # True when values of 2^32 or more are added up apart

    @classmethod
    def of(cls, values: Sequence[tuple[UnitValue, Period]], *, far: bool = False) -> DaySlots:
        """The slots that some values with their windows need."""
        windows: dict[str, tuple[Period, ...]] = {}
        for value, period in values:
            known = windows.get(value.source, ())
            windows[value.source] = known if period in known else (*known, period)
        kinds = dict.fromkeys(name for value, _ in values for name in COLUMNS[value.aggregation] if name != "n")
        more = ("far",) if far and "hi" in kinds else ()
        return cls(windows, (*kinds, *more), far)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources, in the order of their numbers."""
        return tuple(sorted(self.windows))

    @property
    def width(self) -> int:
        """The largest number of windows of one source."""
        return max((len(windows) for windows in self.windows.values()), default=0)


@dataclass
class RunningValues:
    """The unit-days of one partition in order, and the running values that were asked for."""

    users: pa.StringArray
    key: Codes  # source, unit and day in one number, ascending
    columns: Mapping[str, NDArray[Any]]
    slots: DaySlots
    days: int
    _known: dict[tuple[str, Period, str], tuple[Codes, Numbers]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, events: EventDays, slots: DaySlots, days: int) -> RunningValues | None:
        """From the events inside a window of their unit; None without any."""
        events.add_up()
        if not len(events.key):
            return None
        source, unit, day = events.parts
        return cls(events.users, (source * len(events.users) + unit) * days + day, events.columns, slots, days)

    def states(self, values: Sequence[UnitValue], period: Period) -> tuple[Codes, Codes, list[Numbers]]:
        """Unit, day (0 is the first) and running values on every day on which one of the values has an event.

        All values of a ratio are there on each day, 0 before their first event.
        """
        found = [self.running(value, period) for value in values]
        key = found[0][0] if len(found) == 1 else np.unique(np.concatenate([key for key, _ in found]))
        unit, day = np.divmod(key, self.days)
        if len(found) == 1:
            return unit, day, [found[0][1]]
        return unit, day, [_as_of(own, numbers, key, self.days) for own, numbers in found]

    def running(self, value: UnitValue, period: Period) -> tuple[Codes, Numbers]:
        """Unit and day in one number, and the value of the unit as of the day, where it has an event on the day."""
        known = (value.source, period, value.aggregation)
        if known not in self._known:
            self._known[known] = self._computed(value, period)
        return self._known[known]

    def _computed(self, value: UnitValue, period: Period) -> tuple[Codes, Numbers]:
        number, slot = self.slots.sources.index(value.source), self.slots.windows[value.source].index(period)
        size = len(self.users) * self.days
        first, last = np.searchsorted(self.key, [number * size, (number + 1) * size])
        rows = first + np.flatnonzero(self.columns[f"n{slot}"][first:last] > 0)
        key = self.key[rows] - number * size
        unit = key // self.days

        def column(name: str) -> NDArray[Any]:
            return np.asarray(self.columns[f"{name}{slot}"][rows])

        return key, _AGGREGATES[value.aggregation](unit, column, self.slots.far)


def _total(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    """J4's exact sum of the events so far, rounded as J4 rounds."""
    high, low = (added_up(unit, column(name).astype(np.int64)) for name in ("hi", "lo"))
    near = put_together(high, low)
    return near + added_up(unit, column("far")) if far else near


def _count(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    return added_up(unit, column("n").astype(np.int64)).astype(float)


def _any(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    return (added_up(unit, column("positive").astype(np.int64)) > 0).astype(float)


def _mean(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    return _total(unit, column, far) / _count(unit, column, far)


def _largest(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    largest = column("max").astype(float)
    step, more = 1, True
    while more:  # each round doubles the number of days that a row has seen
        same = np.flatnonzero(unit[step:] == unit[:-step]) + step
        more = bool(len(same))
        seen = np.maximum(largest[same], largest[same - step])
        largest[same] = seen
        step *= 2
    return largest


def _latest(unit: Codes, column: Callable[[str], NDArray[Any]], far: bool) -> Numbers:
    return column("last").astype(float)


_AGGREGATES: dict[str, Callable[[Codes, Callable[[str], NDArray[Any]], bool], Numbers]] = {
    "sum": _total, "count": _count, "any": _any, "mean": _mean, "max": _largest, "last": _latest,
}  # fmt: skip


def added_up(unit: Codes, column: NDArray[Any]) -> NDArray[Any]:
    """The sum so far of each unit's rows, which stand together; exact even where the sum of all units overflows."""
    if not len(column):
        return column
    if column.dtype.kind == "f":
        total = column.copy()
        for i in np.flatnonzero(unit[1:] == unit[:-1]) + 1:
            total[i] += total[i - 1]
        return total
    with np.errstate(over="ignore"):
        total = np.cumsum(column)
        starts = np.flatnonzero(np.append(True, unit[1:] != unit[:-1]))
        before = total[starts] - column[starts]
        return np.asarray(total - np.repeat(before, np.diff(np.append(starts, len(unit)))))


def _as_of(own: Codes, numbers: Numbers, key: Codes, days: int) -> Numbers:
    """The number of the same unit at its last own key up to each key; 0 before the first."""
    place = np.searchsorted(own, key, side="right") - 1
    known = place >= 0
    known[known] = own[place[known]] // days == key[known] // days
    return np.where(known, numbers[np.maximum(place, 0)] if len(numbers) else 0.0, 0.0)
