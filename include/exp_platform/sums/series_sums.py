"""Changes of units' running values by day, added up exactly by arm; NumPy on whole columns, no session needed.

A unit's running value as of a day is the value that it has when only the events before the end of that day are seen.
It counts from the day on which the unit's window opens, with `maturity: complete` from the day on which the window
closes; an extreme, a mean or a latest value counts from the first event on.

`entries` takes unit rows: who enters on which day, with a value of 0 where the aggregation knows that. `Changes` takes
events inside windows, all events of a unit in one partition: a value's products come on its day and go on the unit's
next one. What comes and goes is the exact product that J5's statistics add up, so the changes up to a day add up to the
statistics of that day, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.metrics.families import COLUMN_OF, Family
from exp_platform.metrics.values import unit_values
from exp_platform.sums.event_columns import Cell, EventColumns
from exp_platform.sums.event_days import EventDays
from exp_platform.sums.exact_sums import FAR_REACH, Limbs, Numbers
from exp_platform.sums.scales import exponent_of, power_of_two
from exp_platform.sums.series_plan import SeriesPlan, changes_later, counts_without_events, products_of
from exp_platform.sums.series_units import KnownUnits, UnitSource
from exp_platform.sums.unit_days import DaySlots, RunningValues

Codes = NDArray[np.int64]
COUNTS = ("units", "n", "n_mature", "n_x", "n_d")
SERIES_SQL = (
    "metric int, variant_id string, day int, "
    + ", ".join(f"{name} bigint" for name in COUNTS)
    + ", limbs array<double>"
)
SERIES_SCHEMA = pa.schema(
    [
        ("metric", pa.int32()),
        ("variant_id", pa.string()),
        ("day", pa.int32()),  # since 1970
        *((name, pa.int64()) for name in COUNTS),
        ("limbs", pa.list_(pa.float64())),  # products × limbs, in the metric's unit
    ]
)


def entries(batches: Iterable[pa.RecordBatch], plan: SeriesPlan) -> Iterator[pa.RecordBatch]:
    """Who enters on which day, from one partition's unit rows: counts, and sums of covariates."""
    sums: dict[int, DaySums] = {}
    for batch in batches:
        units = KnownUnits.of(batch, plan)
        for family in plan.families:
            for i, metric in family.members:
                one = sums.setdefault(i, DaySums(i, family, plan))
                one.enter(units, metric)
    for one in sums.values():
        yield from one.rows()


def series_cells(slots: DaySlots) -> tuple[Cell, ...]:
    """The events in any window of their source."""
    return tuple(Cell(source, window) for source in slots.sources for window in slots.windows[source])


class Changes:
    """The kernel of changes: the events of one partition inside windows, added up by unit × source × day."""

    def __init__(self, plan: SeriesPlan, slots: DaySlots, units: UnitSource, names: EventColumns) -> None:
        self.plan, self.slots, self.units, self.names = plan, slots, units, names
        self.held = EventDays(slots.columns, slots.width, plan.span.first)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the events that are in a window."""
        cells = series_cells(self.slots)
        asked = ["user_id", "event_us", "value", "source", *map(self.names.flag, cells)]
        mine = self.names.taken(batch, cells, asked)
        if not len(mine):
            return
        number = {source: i for i, source in enumerate(self.slots.sources)}
        sources = np.array([number.get(source, -1) for source in self.names.sources])[mine.column("source").to_numpy()]
        windows = self.slots.windows
        flags = {
            f"f{j}": self.names.inside(mine, [Cell(source, own[j]) for source, own in windows.items() if j < len(own)])
            for j in range(self.slots.width)
        }
        columns = {name: mine.column(name) for name in ("user_id", "event_us", "value")}
        self.held.add(pa.RecordBatch.from_pydict(columns | {"source": sources} | flags))

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The changes, each on the day on which it counts."""
        values = RunningValues.of(self.held, self.slots, self.plan.span.days)
        if values is None:
            return
        known = self.units.known(values.users, self.plan)
        for family in self.plan.families:
            for i, metric in family.members:
                one = DaySums(i, family, self.plan)
                one.change(values, known, metric)
                yield from one.rows()


@dataclass
class DaySums:
    """Counts and limbs of one metric by arm × day."""

    index: int
    family: Family
    plan: SeriesPlan
    counts: dict[str, Codes] = field(default_factory=dict)
    limbs: dict[str, list[Numbers]] = field(default_factory=dict)

    @property
    def codes(self) -> int:
        """Number of arm × day."""
        return len(self.plan.variants) * self.plan.span.days

    def enter(self, units: KnownUnits, metric: Metric) -> None:
        """Add units on the days on which they are included, enter the metric and mature."""
        _, closes, entry = units.turns(self.plan.periods[self.index], metric)
        self._count("units", units.code(units.cohort_day))
        self._count("n_mature", units.code(closes))
        if not counts_without_events(metric):
            return
        code = units.code(entry)
        letters = self._covariates(units)
        self._count("n", code)
        self._count("n_x", code[~np.isnan(units.numbers[f"x{self.index}"])])
        there = np.flatnonzero(code >= 0)
        exponents = {
            letter: self.plan.scales.exponent(COLUMN_OF[letter].format(self.index))
            for letter in letters
            if letter in COLUMN_OF
        }
        limbs = Limbs(self.plan.scales.units, FAR_REACH)
        for name, product in products_of(self.family).items():
            if changes_later(product):
                continue
            column, size = _product(product, {key: value[there] for key, value in letters.items()}, exponents)
            self._add(name, code[there], limbs.cut_out(column), size)

    def change(self, values: RunningValues, units: KnownUnits, metric: Metric) -> None:
        """Add the products of every new value on its day, and take them away on the unit's next day."""
        unit, day, parts = values.states(unit_values(metric), self.plan.periods[self.index])
        entry = units.turns(self.plan.periods[self.index], metric)[2]
        day = np.maximum(day, entry[unit] - self.plan.span.first)
        last_of_day = (
            np.append((unit[1:] != unit[:-1]) | (day[1:] != day[:-1]), True) if len(unit) else np.zeros(0, bool)
        )
        kept = np.flatnonzero(last_of_day & (day < self.plan.span.days) & (units.arm[unit] >= 0))
        if not len(kept):
            return
        unit, day = unit[kept], day[kept]
        first = np.append(True, unit[1:] != unit[:-1])
        follows = np.flatnonzero(~first)  # rows after another one of their unit: its products go on their day
        code = units.arm[unit] * self.plan.span.days + day
        numbers = {letter: self._capped(part[kept], letter) for letter, part in zip("yd", parts, strict=False)}
        numbers |= {letter: column[unit] for letter, column in self._covariates(units).items()}
        self._count_changes(metric, units, unit, code, first, follows, numbers)
        self._sum_changes(metric, code, first, follows, numbers)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """One row for each arm × day with a change."""
        products = products_of(self.family)
        used = max((len(limbs) for limbs in self.limbs.values()), default=1)
        table = np.zeros((self.codes, len(products), used))
        for j, name in enumerate(products):
            for k, limb in enumerate(self.limbs.get(name, ())):
                table[:, j, k] = limb
        counts = np.stack([self.counts.get(name, np.zeros(self.codes, dtype=np.int64)) for name in COUNTS], axis=1)
        rows = np.flatnonzero(table.any(axis=(1, 2)) | counts.any(axis=1))
        if not len(rows):
            return
        arm, day = np.divmod(rows, self.plan.span.days)
        lists = table[rows].reshape(len(rows), -1)
        offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * lists.shape[1])
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(np.full(len(rows), self.index, dtype=np.int32)),
                pa.array([self.plan.variants[a] for a in arm.tolist()]),
                pa.array((day + self.plan.span.first).astype(np.int32)),
                *(pa.array(column) for column in counts[rows].T),
                pa.ListArray.from_arrays(offsets, pa.array(lists.ravel())),
            ],
            schema=SERIES_SCHEMA,
        )

    def _count_changes(
        self,
        metric: Metric,
        units: KnownUnits,
        unit: Codes,
        code: Codes,
        first: Any,
        follows: Codes,
        numbers: Mapping[str, Numbers],
    ) -> None:
        if not counts_without_events(metric):
            self._count("n", code[first])
            self._count("n_x", code[first & ~np.isnan(units.numbers[f"x{self.index}"][unit])])
        if "d" in numbers:
            carries = numbers["d"] != 0
            self._count("n_d", code[carries])
            self._count("n_d", code[follows][carries[follows - 1]], -1)

    def _sum_changes(
        self, metric: Metric, code: Codes, first: Any, follows: Codes, numbers: Mapping[str, Numbers]
    ) -> None:
        exponents = {letter: exponent_of(float(np.abs(column).max(initial=0.0))) for letter, column in numbers.items()}
        limbs = Limbs(2 * len(code), FAR_REACH)
        enters = not counts_without_events(metric)
        for name, product in products_of(self.family).items():
            if not changes_later(product):
                if enters:
                    column, size = _product(product, {k: v[first] for k, v in numbers.items()}, exponents)
                    self._add(name, code[first], limbs.cut_out(column), size)
                continue
            column, size = _product(product, numbers, exponents)
            pieces = list(limbs.cut_out(column))
            self._add(name, code, pieces, size)
            self._add(name, code[follows], (piece[follows - 1] for piece in pieces), -size)

    def _covariates(self, units: KnownUnits) -> dict[str, Numbers]:
        """Every unit's covariates by letter, 0 where one is missing, and the letters that are 1 there."""
        own = {letter: COLUMN_OF[letter].format(self.index) for letter in self.family.letters if letter not in "ydpq"}
        found = {letter: np.nan_to_num(units.numbers[name], nan=0.0) for letter, name in own.items()}
        found["z"] = np.isnan(units.numbers[f"x{self.index}"]).astype(float)
        for flag, letter in self.family.absent:
            found[flag] = np.isnan(units.numbers[COLUMN_OF[letter].format(self.index)]).astype(float)
        return {letter: self._capped(column, letter) for letter, column in found.items()}

    def _capped(self, number: Numbers, letter: str) -> Numbers:
        cap = self.plan.scales.cap(COLUMN_OF[letter].format(self.index)) if letter in COLUMN_OF else None
        return number if cap is None else np.minimum(number, cap)

    def _count(self, name: str, code: Codes, sign: int = 1) -> None:
        counted = sign * np.bincount(code[code >= 0], minlength=self.codes)
        self.counts[name] = self.counts.get(name, np.zeros(self.codes, dtype=np.int64)) + counted

    def _add(self, name: str, code: Codes, pieces: Iterable[Numbers], size: float) -> None:
        held = self.limbs.setdefault(name, [])
        for k, piece in enumerate(pieces):
            if k == len(held):
                held.append(np.zeros(self.codes))
            held[k] += np.bincount(code, piece, minlength=self.codes) * size


def _product(letters: str, numbers: Mapping[str, Numbers], exponents: Mapping[str, int]) -> tuple[Numbers, float]:
    """A product of letters within ±1, multiplied in J5's order, and the power of two that it was divided by."""
    scaled = (numbers[letter] * power_of_two(-exponents.get(letter, 0)) for letter in letters)
    return reduce(np.multiply, scaled), power_of_two(sum(exponents.get(letter, 0) for letter in letters))
