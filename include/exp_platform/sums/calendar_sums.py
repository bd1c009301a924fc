"""Events inside windows, added up exactly by arm × segment × UTC day; NumPy on columns, no session needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.metrics.values import DAY_US
from exp_platform.sums.event_columns import CARRY, HI, LO, Cell, Codes, EventColumns, cut_in_two, is_far, kinds_of
from exp_platform.sums.group_sums import ALL

HALF = 21  # bits: halves of whole numbers add up exactly as doubles in a batch, and as integers over any number of rows
KEY = ("variant_id", "segment", "day", "cell")
SUMS = ("n", "hi_high", "hi_low", "lo_high", "lo_low")
CALENDAR_SCHEMA = pa.schema(
    [
        ("variant_id", pa.string()),
        ("segment", pa.string()),
        ("day", pa.int32()),  # since 1970
        ("cell", pa.int32()),  # place among the cells
        *((name, pa.int64()) for name in SUMS),
        ("far", pa.list_(pa.float64())),  # far values one by one
    ]
)
Group = tuple[str, str, int]  # arm, segment, day
Total = tuple[int, float]  # number of events, their sum


@dataclass
class CalendarSums:
    """The kernel of calendar sums: sums so far by group and cell."""

    cells: tuple[Cell, ...]
    names: EventColumns
    numbers: dict[Group, int] = field(default_factory=dict)
    sums: Codes = field(init=False)  # groups × cells × SUMS
    far: dict[tuple[int, int], list[float]] = field(default_factory=dict)  # by group and cell

    def __post_init__(self) -> None:
        self.sums = np.zeros((0, len(self.cells), len(SUMS)), dtype=np.int64)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the events that are in a cell."""
        flags = [self.names.flag(cell) for cell in self.cells]
        mine = self.names.taken(batch, self.cells, ["variant_id", "event_us", "value", *self.names.known, *flags])
        if not len(mine):
            return
        alike, place, events, group = self._groups(mine)
        value = mine.column("value").to_numpy()
        halves = [half for number in cut_in_two(value) for half in (number >> HALF, number & ((1 << HALF) - 1))]
        large = is_far(value)
        for i, inside in enumerate(self.names.inside(mine, [cell]) for cell in self.cells):
            chosen = np.flatnonzero(inside)
            kinds = place[chosen]
            counted = [np.bincount(kinds, minlength=alike)]
            counted += [np.bincount(kinds, half[chosen], alike) for half in halves]  # exact: a half has 28 bits at most
            for k, of_kind in enumerate(counted):
                np.add.at(self.sums[:, i, k], group, of_kind.astype(np.int64)[events])
            for at in np.flatnonzero(inside & large).tolist():
                for number in group[events == place[at]].tolist():
                    self.far.setdefault((number, i), []).append(float(value[at]))

    def rows(self) -> Iterator[pa.RecordBatch]:
        """One row for each group × cell with an event."""
        found = [
            (*group, i, *sums[i].tolist(), self.far.get((number, i), []))
            for (group, number), sums in zip(self.numbers.items(), self.sums, strict=True)
            for i in np.flatnonzero(sums[:, 0]).tolist()
        ]
        columns = list(zip(*found, strict=True)) or [()] * len(CALENDAR_SCHEMA)
        yield pa.RecordBatch.from_arrays(
            [pa.array(list(column), kind.type) for column, kind in zip(columns, CALENDAR_SCHEMA, strict=True)],
            schema=CALENDAR_SCHEMA,
        )

    def _groups(self, batch: pa.RecordBatch) -> tuple[int, Codes, Codes, Codes]:
        """How many kinds of events there are (arm, values of all dimensions, day), and the kind of each row.

        Then pairs of a kind and a group that it counts in: all units of the arm, and each of the kind's segments.
        """
        arms = batch.column("variant_id").dictionary_encode()
        day = batch.column("event_us").to_numpy() // DAY_US
        first = int(day.min())
        keys = [(arms.indices.to_numpy(), len(arms.dictionary)), (day - first, int(day.max()) - first + 1)]
        known = [column.dictionary_encode() for column in map(batch.column, self.names.known)]
        keys += [(v.indices.fill_null(len(v.dictionary)).to_numpy(), len(v.dictionary) + 1) for v in known]
        place, (arm, on, *values) = kinds_of(keys)
        variants, days = [arms.dictionary[i].as_py() for i in arm.tolist()], (on + first).tolist()
        pairs = [(k, (variant, ALL, at)) for k, (variant, at) in enumerate(zip(variants, days, strict=True))]
        for name, column, value in zip(self.names.dimensions, known, values, strict=True):
            texts = [f"{name}={text}" for text in column.dictionary.to_pylist()]
            pairs += [(k, (variants[k], texts[v], days[k])) for k, v in enumerate(value.tolist()) if v < len(texts)]
        numbers = [self.numbers.setdefault(group, len(self.numbers)) for _, group in pairs]
        more = np.zeros((len(self.numbers) - len(self.sums), *self.sums.shape[1:]), dtype=np.int64)
        self.sums = np.concatenate([self.sums, more])
        return len(arm), place, np.array([k for k, _ in pairs]), np.array(numbers)


def calendar_totals(rows: pa.Table, cells: Sequence[Cell]) -> dict[Cell, dict[Group, Total]]:
    """Number and sum of the events of each cell by group, from the rows of all partitions."""
    found: dict[Cell, dict[Group, Total]] = {cell: {} for cell in cells}
    far: dict[tuple[Group, int], list[float]] = {}
    for row in rows.filter(pc.list_value_length(rows["far"]).cast(pa.bool_())).to_pylist():
        far.setdefault(((row["variant_id"], row["segment"], row["day"]), row["cell"]), []).extend(row["far"])
    added = rows.group_by(list(KEY)).aggregate([(name, "sum") for name in SUMS])
    names = (*KEY, *(f"{name}_sum" for name in SUMS))
    for variant, segment, day, i, n, *halves in zip(*(added[name].to_pylist() for name in names), strict=True):
        group = variant, segment, day
        near = _whole(*((high << HALF) + low for high, low in (halves[:2], halves[2:])))
        found[cells[i]][group] = n, near + sum(sorted(far[group, i]), start=0.0) if (group, i) in far else near
    return found


def _whole(high: int, low: int) -> float:
    """The exact sum, rounded as J4 rounds."""
    carry = int(np.floor(float(low) / float(CARRY)))
    return float(high + carry) / HI + float(low - carry * CARRY) / LO
