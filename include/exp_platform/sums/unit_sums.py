"""Counts and exact sums by metric and group from batches of unit rows, by NumPy on whole columns.

A partition returns one row per metric × group: its counts, and the limbs of every sum of products in the order of the
family's products, as many of each as the numbers needed. Limbs add up exactly, so the rows of all partitions can be
added in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.metrics.families import COLUMN_OF, COUNTS, Family, families
from exp_platform.stats.histogram import bin_of
from exp_platform.sums.exact_sums import Numbers
from exp_platform.sums.group_sums import GROUP
from exp_platform.sums.numbers import in_columns
from exp_platform.sums.scales import Scales, power_of_two
from exp_platform.sums.unit_bins import BinCounts
from exp_platform.sums.unit_groups import Cells, Groups

ENOUGH = 25000  # rows at a time: with fewer rows the overhead of NumPy's calls dominates
NOWHERE = -1

Flags = NDArray[np.bool_]

SUMS_SCHEMA = pa.schema(
    [
        ("metric", pa.int32()),
        ("variant_id", pa.string()),
        ("segment", pa.string()),
        ("cohort_date", pa.date32()),
        ("unit_bucket", pa.int32()),
        *((name, pa.int64()) for name in COUNTS),
        ("limbs", pa.list_(pa.float64())),
        ("bins", pa.list_(pa.int32())),  # of a unit-level quantile; how many units are in each, and their extremes
        ("bin_units", pa.list_(pa.int64())),
        ("bin_lows", pa.list_(pa.float64())),
        ("bin_highs", pa.list_(pa.float64())),
    ]
)
SUMS_SQL = (
    "metric int, variant_id string, segment string, cohort_date date, unit_bucket int, "
    + ", ".join(f"{name} bigint" for name in COUNTS)
    + ", limbs array<double>, bins array<int>, bin_units array<bigint>, bin_lows array<double>, bin_highs array<double>"
)


def unit_sums(batches: Iterable[pa.RecordBatch], metrics: Sequence[Metric], scales: Scales) -> Iterator[pa.RecordBatch]:
    """The sums of one partition's unit rows, by all groups of the statistics."""
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
    """The rows of the batches in batches of at least ENOUGH rows, but the last; empty batches are dropped."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if len(batch) >= ENOUGH:
            yield batch  # passed on as it is, because concatenating would copy it
            continue
        held.append(batch)
        if sum(map(len, held)) >= ENOUGH:
            yield pa.concat_batches(held)
            held.clear()
    if any(map(len, held)):
        yield pa.concat_batches(held)


def by_column(sums: pa.Table, family: Family) -> pa.Table:
    """The sums of one family with a column for each limb, instead of one list of limbs."""
    mine = sums.filter(pc.is_in(sums["metric"], pa.array([i for i, _ in family.members], pa.int32())))
    limbs = padded(mine["limbs"].combine_chunks(), len(family.products))
    names = [f"{product}_{i}" for product in family.products for i in range(limbs.shape[-1])]
    flat = limbs.reshape(mine.num_rows, len(names))
    table = mine.select([*GROUP, *COUNTS])
    for j, name in enumerate(names):
        table = table.append_column(name, pa.array(np.ascontiguousarray(flat[:, j])))
    return table


def padded(limbs: pa.ListArray, products: int) -> Numbers:
    """Lists of limbs as rows × products × limbs, where a row has as many limbs of each product as it needed."""
    sizes = limbs.value_lengths().to_numpy() // max(products, 1)
    flat, ends = limbs.flatten().to_numpy(), np.cumsum(sizes) * products
    padded = np.zeros((len(sizes), products, int(sizes.max(initial=1))))
    for used in np.unique(sizes):
        rows = np.flatnonzero(sizes == used)
        places = (ends[rows] - used * products)[:, None] + np.arange(used * products)
        padded[rows, :, :used] = flat[places].reshape(len(rows), products, used)
    return padded


@dataclass
class MetricSums:
    """Counts and limbs of one metric, one row per group."""

    index: int
    metric: Metric
    family: Family
    scales: Scales
    totals: Numbers = field(init=False)  # counts, then limbs; doubles hold both exactly
    bins: BinCounts = field(default_factory=BinCounts)

    def __post_init__(self) -> None:
        self.totals = np.zeros((0, len(COUNTS) + len(self.family.products) * self.scales.limbs.count))

    def add(self, columns: Mapping[str, NDArray[Any]], cells: Cells, groups: int) -> None:
        """Add a batch of unit rows; `groups` is the number of groups known so far."""
        self._grow(groups)
        flags, numbers = self._numbers(columns)
        sums: dict[int, Numbers] = {j: cells.sums(flag) for j, flag in enumerate(flags) if flag is not None}
        if numbers:
            # Where every unit with a value is in difference-in-differences, g is 1 and multiplying by it is left out.
            has, in_did = flags[0], flags[4]
            assert has is not None and in_did is not None
            everywhere = np.array_equal(has, in_did)
            self._add_products(numbers, cells, sums, no_g=everywhere)
            if self.metric.estimand == "quantile":
                self._add_bins(columns, cells, has)
        cells.add_to(self.totals, list(sums), np.stack(list(sums.values()), axis=1, dtype=float))

    def rows(self, groups: Groups) -> pa.RecordBatch:
        """The counts and limbs as a batch of one row per group."""
        self._grow(len(groups.keys))
        arm, segment, day, bucket = zip(*groups.keys, strict=True)
        counts, limbs = np.split(self.totals, [len(COUNTS)], axis=1)
        limbs = self._used(limbs)
        offsets = np.arange(len(arm) + 1, dtype=np.int32) * limbs.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(limbs.ravel()))
        keys = [pa.array([self.index] * len(arm), pa.int32()), pa.array(arm), pa.array(segment)]
        keys += [pa.array(day, pa.int32()).cast(pa.date32()), pa.array(bucket, pa.int32())]
        whole = (pa.array(column) for column in counts.astype(np.int64).T)
        return pa.RecordBatch.from_arrays([*keys, *whole, lists, *self.bins.lists(len(arm))], schema=SUMS_SCHEMA)

    def _grow(self, groups: int) -> None:
        if more := groups - len(self.totals):
            self.totals = np.vstack([self.totals, np.zeros((more, self.totals.shape[1]))])

    def _used(self, limbs: Numbers) -> Numbers:
        """The limbs of every product without those that no product needed, one at least."""
        by_product = limbs.reshape(len(limbs), len(self.family.products), self.scales.limbs.count)
        used = np.flatnonzero(by_product.any(axis=(0, 1)))
        count = int(used.max(initial=0)) + 1
        return np.ascontiguousarray(by_product[:, :, :count]).reshape(len(limbs), -1)

    def _add_products(
        self, numbers: Mapping[str, Numbers], cells: Cells, sums: dict[int, Numbers], *, no_g: bool
    ) -> None:
        count = self.scales.limbs.count
        done: dict[str, list[Numbers]] = {}
        for j, product in enumerate(self.family.products.values()):
            letters = product.replace("g", "") if no_g else product
            if letters not in done:
                column = reduce(np.multiply, (numbers[letter] for letter in letters))
                done[letters] = [cells.sums(limb) for limb in self.scales.limbs.cut_out(column)]
            first = len(COUNTS) + j * count
            sums |= {first + k: limb for k, limb in enumerate(done[letters])}

    def _add_bins(self, columns: Mapping[str, NDArray[Any]], cells: Cells, has: NDArray[np.bool_]) -> None:
        name = f"y{self.index}"
        values = np.where(has, self._capped(columns[name], name), 0.0)
        rows, groups = cells.spread(np.where(has, np.arange(len(has)), NOWHERE))
        counted = rows != NOWHERE
        rows = rows[counted]
        self.bins.add(groups[counted], bin_of(values)[rows], values[rows])

    def _numbers(self, columns: Mapping[str, NDArray[Any]]) -> tuple[list[Flags | None], dict[str, Numbers]]:
        """A flag per unit for each of COUNTS (None: no unit), and its numbers by letter, 0 where they do not count."""
        there, mature = ~np.isnan(columns[f"y{self.index}"]), columns[f"mature{self.index}"]
        has = there & mature if self.metric.maturity_in_force == "complete" else there
        if self.metric.of_events:
            return [has, ~has, mature, None, None, None], {}
        has_x = has & ~np.isnan(columns[f"x{self.index}"])
        in_did = has & mature & ~np.isnan(columns[f"p{self.index}"])
        numbers = {"g": in_did.astype(float), "z": (~has_x).astype(float)}
        for letter in self.family.letters:
            name = COLUMN_OF[letter].format(self.index)
            scaled = self._capped(columns[name], name) * power_of_two(-self.scales.exponent(name))
            counts = (in_did if letter in "pq" else has) & ~np.isnan(scaled)
            numbers[letter] = scaled if counts.all() else np.where(counts, scaled, 0.0)
        for flag, letter in self.family.absent:
            numbers[flag] = (has & np.isnan(columns[COLUMN_OF[letter].format(self.index)])).astype(float)
        with_denominator = numbers["d"] != 0 if "d" in numbers else None
        return [has, ~has, mature, has_x, in_did, with_denominator], numbers

    def _capped(self, number: Numbers, name: str) -> Numbers:
        cap = self.scales.cap(name)
        return number if cap is None else np.minimum(number, cap)


assert SUMS_SCHEMA.names[: len(GROUP)] == list(GROUP)
