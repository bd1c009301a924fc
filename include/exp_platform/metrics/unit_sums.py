"""Batches of unit rows to counts and exact sums by metric and group; NumPy on whole columns, no session needed.

A row of a partition's answer is one metric × group: its counts, and the limbs of every sum of products in the order of
the family's products. Limbs add up exactly, so the answers of all partitions can be added in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.metrics.exact_sums import Numbers
from exp_platform.metrics.families import COLUMN_OF, COUNTS, Family, families, has_unit_values
from exp_platform.metrics.group_sums import ALL, GROUP, NO_BUCKET
from exp_platform.metrics.numbers import in_columns
from exp_platform.metrics.scales import Scales, power_of_two
from exp_platform.metrics.unit_bins import BinCounts
from exp_platform.stats.quantile import bin_of

Codes = NDArray[np.int64]
ENOUGH = 25000  # rows at a time: below that, it is the number of NumPy's calls that costs
NO_BIN = np.iinfo(np.int64).min
Key = tuple[str, str, int | None, int]  # arm, segment, cohort date in days since 1970 (None: all), bucket

SUMS_SCHEMA = pa.schema(
    [
        ("metric", pa.int32()),
        ("variant_id", pa.string()),
        ("segment", pa.string()),
        ("cohort_date", pa.date32()),
        ("unit_bucket", pa.int32()),
        *((name, pa.int64()) for name in COUNTS),
        ("limbs", pa.list_(pa.float64())),
        ("bins", pa.list_(pa.int32())),  # of a unit-level quantile, and how many units are in each
        ("bin_units", pa.list_(pa.int64())),
    ]
)
SUMS_SQL = (
    "metric int, variant_id string, segment string, cohort_date date, unit_bucket int, "
    + ", ".join(f"{name} bigint" for name in COUNTS)
    + ", limbs array<double>, bins array<int>, bin_units array<bigint>"
)


def unit_sums(batches: Iterable[pa.RecordBatch], metrics: Sequence[Metric], scales: Scales) -> Iterator[pa.RecordBatch]:
    """The sums of one partition's unit rows, in both grouping sets of the statistics."""
    groups = Groups()
    sums = {i: MetricSums(i, metric, family, scales) for family in families(metrics) for i, metric in family.members}
    for batch in _filled(batches):
        order, cells = groups.of(batch)
        columns = {name: column[order] for name, column in in_columns(batch, metrics).items()}
        for one in sums.values():
            one.add(columns, cells, len(groups.keys))
    for one in sums.values():
        if groups.keys:
            yield one.rows(groups)


def _filled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in larger batches; none without rows."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if len(batch) >= ENOUGH:
            yield batch  # as it is: putting one alone together would copy it
            continue
        held.append(batch)
        if sum(map(len, held)) >= ENOUGH:
            yield pa.concat_batches(held)
            held.clear()
    if any(map(len, held)):
        yield pa.concat_batches(held)


def by_column(sums: pa.Table, family: Family, scales: Scales) -> pa.Table:
    """The sums of one family with a column for each limb."""
    mine = sums.filter(pc.is_in(sums["metric"], pa.array([i for i, _ in family.members], pa.int32())))
    names = [limb for name in family.products for limb in scales.limbs.names(name)]
    flat = mine["limbs"].combine_chunks().flatten().to_numpy().reshape(mine.num_rows, len(names))
    table = mine.drop_columns(["limbs", "bins", "bin_units"])
    for j, name in enumerate(names):
        table = table.append_column(name, pa.array(np.ascontiguousarray(flat[:, j])))
    return table


@dataclass(frozen=True)
class Cells:
    """A batch's rows in cells, each of them inside every group that it touches.

    There are far fewer cells than rows, and limbs add up exactly: rows are added up once, and cells for each group.
    """

    again: Codes  # rows that follow after all rows: those of segments, once for each; such a cell is a segment's
    starts: Codes  # first row of each cell
    members: Codes  # the cells of each group, group by group
    firsts: Codes  # where those of a group begin
    groups: Codes

    @classmethod
    def of(cls, again: Codes, starts: Codes, cells: Codes, groups: Codes) -> Cells:
        """From pairs of a cell and a group."""
        by_group = np.argsort(groups, kind="stable")
        distinct, firsts = np.unique(groups[by_group], return_index=True)
        return cls(again, starts, cells[by_group], firsts, distinct)

    def sums(self, column: NDArray[Any]) -> NDArray[Any]:
        """Of each cell's rows; of flags, how many."""
        return np.add.reduceat(self._rows(column), self.starts, dtype=np.int64 if column.dtype == bool else None)

    def add_to(self, totals: Numbers, sums: Numbers) -> None:
        """Add the sums of cells, a row each, to the totals of groups."""
        totals[self.groups] += np.add.reduceat(sums[self.members], self.firsts, axis=0)

    def spread(self, column: NDArray[Any]) -> tuple[NDArray[Any], Codes]:
        """What each row has, once for each group that it is in; and the group."""
        rows = self._rows(column)
        sizes = np.diff(self.starts, append=len(rows))[self.members]
        shift = self.starts[self.members] - (np.cumsum(sizes) - sizes)
        groups = np.repeat(self.groups, np.diff(self.firsts, append=len(self.members)))
        return rows[np.arange(sizes.sum()) + np.repeat(shift, sizes)], np.repeat(groups, sizes)

    def _rows(self, column: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([column, column[self.again]]) if len(self.again) else column


@dataclass
class Groups:
    """Every group seen so far, numbered: all units by cohort date and by bucket, and each segment by cohort date."""

    numbers: dict[Key, int] = field(default_factory=dict)

    @property
    def keys(self) -> list[Key]:
        """All of them in the order of their numbers."""
        return list(self.numbers)

    def of(self, batch: pa.RecordBatch) -> tuple[Codes, Cells]:
        """An order of the rows, and the cells of rows in that order."""
        arms = batch.column("variant_id").dictionary_encode()
        names, arm = arms.dictionary.to_pylist(), arms.indices.to_numpy().astype(np.int64)
        day = batch.column("cohort_date").cast(pa.int32()).to_numpy().astype(np.int64)
        bucket = batch.column("unit_bucket").to_numpy().astype(np.int64)
        order, starts = _by_cell(arm, day, bucket)
        arm, day, bucket = arm[order], day[order], bucket[order]
        a, d, own = arm[starts], day[starts], np.arange(len(starts))
        of_day = self._numbered(a, d, lambda i, on: (names[i], ALL, on, NO_BUCKET))
        of_bucket = self._numbered(a, bucket[starts], lambda i, number: (names[i], ALL, None, number))

        rows, segment = segments_of(batch.column("dimensions"))
        texts, label = segment.dictionary.to_pylist(), segment.indices.to_numpy().astype(np.int64)
        again = np.argsort(order)[rows]  # where that order has them
        by_segment, more = _by_cell(arm[again], day[again], label)
        again, label = again[by_segment], label[by_segment]
        both, d = (arm[again] * len(texts) + label)[more], day[again][more]
        of_segment = self._numbered(
            both, d, lambda i, on: (names[i // len(texts)], texts[i % len(texts)], on, NO_BUCKET)
        )
        cells = np.concatenate([own, own, len(own) + np.arange(len(more))])
        starts = np.concatenate([starts, len(batch) + more])
        return order, Cells.of(again, starts, cells, np.concatenate([of_day, of_bucket, of_segment]))

    def _numbered(self, first: Codes, second: Codes, key_of: Callable[[int, int], Key]) -> Codes:
        low = int(second.min(initial=0))
        span = int(second.max(initial=0)) - low + 1
        distinct, inverse = np.unique(first * span + (second - low), return_inverse=True)
        numbers = [
            self.numbers.setdefault(key_of(int(code // span), int(code % span) + low), len(self.numbers))
            for code in distinct
        ]
        return np.array(numbers, dtype=np.int64)[inverse]


def segments_of(dimensions: pa.MapArray) -> tuple[Codes, pa.DictionaryArray]:
    """Row number and `dimension=value` of every entry."""
    offsets = dimensions.offsets.to_numpy()
    rows = np.repeat(np.arange(len(dimensions), dtype=np.int64), np.diff(offsets))
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = (part.slice(first, length) for part in (dimensions.keys, dimensions.items))
    return rows, pc.binary_join_element_wise(keys, values, "=").dictionary_encode()


def _by_cell(*keys: Codes) -> tuple[Codes, Codes]:
    """The order of rows by some keys, the first of them first, and where in it a cell of equal keys begins."""
    code = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys if len(code) else ():
        low = key.min()
        code = code * (key.max() - low + 1) + (key - low)
    order = np.argsort(code)
    return order, np.flatnonzero(np.diff(code[order], prepend=-1))


@dataclass
class MetricSums:
    """Counts and limbs of one metric, a row for each group."""

    index: int
    metric: Metric
    family: Family
    scales: Scales
    totals: Numbers = field(init=False)  # counts, then limbs; doubles hold both exactly
    bins: BinCounts = field(default_factory=BinCounts)

    def __post_init__(self) -> None:
        self.totals = np.zeros((0, len(COUNTS) + len(self.family.products) * self.scales.limbs.count))

    def add(self, columns: Mapping[str, NDArray[Any]], cells: Cells, groups: int) -> None:
        """Add a batch of units."""
        self._grow(groups)
        flags, numbers = self._numbers(columns)
        sums = np.zeros((len(cells.starts), self.totals.shape[1]))
        for j, flag in enumerate(flags):
            sums[:, j] = cells.sums(flag)
        if numbers:
            # Where every unit with a value is in difference-in-differences, its sums are those of all: g is no factor.
            everywhere = np.array_equal(flags[0], flags[4])
            self._add_products(numbers, cells, sums, no_g=everywhere)
            if self.metric.type == "quantile":
                self._add_bins(columns, cells, flags[0])
        cells.add_to(self.totals, sums)

    def rows(self, groups: Groups) -> pa.RecordBatch:
        """One row for each group."""
        self._grow(len(groups.keys))
        arm, segment, day, bucket = zip(*groups.keys, strict=True)
        counts, limbs = np.split(self.totals, [len(COUNTS)], axis=1)
        offsets = np.arange(len(arm) + 1, dtype=np.int32) * limbs.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(limbs.ravel()))
        keys = [pa.array([self.index] * len(arm), pa.int32()), pa.array(arm), pa.array(segment)]
        keys += [pa.array(day, pa.int32()).cast(pa.date32()), pa.array(bucket, pa.int32())]
        whole = (pa.array(column) for column in counts.astype(np.int64).T)
        return pa.RecordBatch.from_arrays([*keys, *whole, lists, *self.bins.lists(len(arm))], schema=SUMS_SCHEMA)

    def _grow(self, groups: int) -> None:
        if more := groups - len(self.totals):
            self.totals = np.vstack([self.totals, np.zeros((more, self.totals.shape[1]))])

    def _add_products(self, numbers: Mapping[str, Numbers], cells: Cells, sums: Numbers, *, no_g: bool) -> None:
        count = self.scales.limbs.count
        done: dict[str, slice] = {}
        for j, product in enumerate(self.family.products.values()):
            letters = product.replace("g", "") if no_g else product
            mine = slice(len(COUNTS) + j * count, len(COUNTS) + (j + 1) * count)
            if letters in done:
                sums[:, mine] = sums[:, done[letters]]
                continue
            done[letters] = mine
            column = reduce(np.multiply, (numbers[letter] for letter in letters))
            for k, limb in enumerate(self.scales.limbs.cut(column)):
                sums[:, mine.start + k] = cells.sums(limb)
                if k == 0 and (limb == column).all():
                    break  # as of counts and shares: nothing is left for the other limbs

    def _add_bins(self, columns: Mapping[str, NDArray[Any]], cells: Cells, has: NDArray[np.bool_]) -> None:
        name = f"y{self.index}"
        bins = bin_of(np.where(has, self._capped(columns[name], name), 0.0))
        found, groups = cells.spread(np.where(has, bins, NO_BIN))
        self.bins.add(groups[found != NO_BIN], found[found != NO_BIN])

    def _numbers(self, columns: Mapping[str, NDArray[Any]]) -> tuple[list[NDArray[np.bool_]], dict[str, Numbers]]:
        """What each unit has, in the order of COUNTS; and its numbers by letter, 0 where they do not count."""
        there, mature = ~np.isnan(columns[f"y{self.index}"]), columns[f"mature{self.index}"]
        has = there & mature if self.metric.maturity_in_force == "complete" else there
        nowhere = np.zeros(len(has), dtype=bool)
        if not has_unit_values(self.metric):
            return [has, ~has, mature, nowhere, nowhere], {}
        has_x = has & ~np.isnan(columns[f"x{self.index}"])
        in_did = has & mature & ~np.isnan(columns[f"p{self.index}"])
        numbers = {"g": in_did.astype(float), "z": (~has_x).astype(float)}
        for letter in self.family.letters:
            name = COLUMN_OF[letter].format(self.index)
            scaled = self._capped(columns[name], name) * power_of_two(-self.scales.exponent(name))
            counts = (in_did if letter in "pq" else has) & ~np.isnan(scaled)
            numbers[letter] = scaled if counts.all() else np.where(counts, scaled, 0.0)
        return [has, ~has, mature, has_x, in_did], numbers

    def _capped(self, number: Numbers, name: str) -> Numbers:
        cap = self.scales.cap(name)
        return number if cap is None else np.minimum(number, cap)


assert SUMS_SCHEMA.names[: len(GROUP)] == list(GROUP)
