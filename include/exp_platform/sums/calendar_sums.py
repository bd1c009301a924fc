"""Events inside windows, added up exactly by arm × segment × UTC day; NumPy on columns, no session needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.metrics.values import DAY_US
from exp_platform.sums.event_columns import CARRY, HI, LO, Cell, Codes, EventColumns, cut_in_two, is_far
from exp_platform.sums.group_sums import ALL
from exp_platform.sums.unit_groups import segments_of

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
        mine = batch.take(pa.array(np.flatnonzero(self.names.inside(batch, self.cells))))
        if not len(mine):
            return
        rows, group = self._groups(mine)
        value = mine.column("value").to_numpy()
        halves = [half for number in cut_in_two(value) for half in (number >> HALF, number & ((1 << HALF) - 1))]
        flags = [self.names.inside(mine, [cell])[rows] for cell in self.cells]
        large = is_far(value)[rows]
        for i, inside in enumerate(flags):
            chosen = np.flatnonzero(inside)
            of_group, of_row = group[chosen], rows[chosen]
            self.sums[:, i, 0] += np.bincount(of_group, minlength=len(self.sums))
            for k, half in enumerate(halves, start=1):  # exact as doubles: a half has 28 bits at most
                self.sums[:, i, k] += np.bincount(of_group, half[of_row], len(self.sums)).astype(np.int64)
            for at in np.flatnonzero(inside & large).tolist():
                self.far.setdefault((int(group[at]), i), []).append(float(value[rows[at]]))

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

    def _groups(self, batch: pa.RecordBatch) -> tuple[Codes, Codes]:
        """Rows of the batch, each once for all units and once for each of its segments, and the group of each."""
        arms = batch.column("variant_id").dictionary_encode()
        day = batch.column("event_us").to_numpy() // DAY_US
        again, segment = segments_of(batch.column("dimensions"))
        texts = [ALL, *segment.dictionary.to_pylist()]
        label = np.concatenate([np.zeros(len(batch), np.int64), segment.indices.to_numpy().astype(np.int64) + 1])
        rows = np.concatenate([np.arange(len(batch)), again])
        first = int(day.min())
        span, variants = int(day.max()) - first + 1, arms.dictionary.to_pylist()
        code = (arms.indices.to_numpy().astype(np.int64)[rows] * len(texts) + label) * span + day[rows] - first
        distinct, place = np.unique(code, return_inverse=True)
        numbers = []
        for each in distinct.tolist():
            both, on = divmod(each, span)
            arm, text = divmod(both, len(texts))
            numbers.append(self.numbers.setdefault((variants[arm], texts[text], on + first), len(self.numbers)))
        more = np.zeros((len(self.numbers) - len(self.sums), *self.sums.shape[1:]), dtype=np.int64)
        self.sums = np.concatenate([self.sums, more])
        return rows, np.array(numbers, dtype=np.int64)[place]


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
