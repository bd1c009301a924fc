"""Batches of unit rows to counts and exact sums by metric and group; NumPy on whole columns, no session needed.

A row of a partition's answer is one metric × group: its counts, and the limbs of every sum of products in the order of
the family's products. Limbs add up exactly, so the answers of all partitions can be added in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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

Codes = NDArray[np.int64]
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
    for rows in batches:
        batch = in_columns(rows, metrics)
        memberships = groups.of(batch)
        for one in sums.values():
            one.add(batch, memberships, len(groups.keys))
    for one in sums.values():
        if groups.keys:
            yield one.rows(groups)


def by_column(sums: pa.Table, family: Family, scales: Scales) -> pa.Table:
    """The sums of one family with a column for each limb."""
    mine = sums.filter(pc.is_in(sums["metric"], pa.array([i for i, _ in family.members], pa.int32())))
    names = [limb for name in family.products for limb in scales.limbs.names(name)]
    flat = mine["limbs"].combine_chunks().flatten().to_numpy().reshape(mine.num_rows, len(names))
    table = mine.drop_columns(["limbs", "bins", "bin_units"])
    for j, name in enumerate(names):
        table = table.append_column(name, pa.array(np.ascontiguousarray(flat[:, j])))
    return table


@dataclass
class Groups:
    """Every group seen so far, numbered: all units by cohort date and by bucket, and each segment by cohort date."""

    numbers: dict[Key, int] = field(default_factory=dict)

    @property
    def keys(self) -> list[Key]:
        """All of them in the order of their numbers."""
        return list(self.numbers)

    def of(self, batch: pa.RecordBatch) -> list[tuple[Codes | None, Codes]]:
        """Pairs of row numbers (None: every row) and the group that each of them is in; a row is in several."""
        arms = batch.column("variant_id").dictionary_encode()
        names, arm = arms.dictionary.to_pylist(), arms.indices.to_numpy().astype(np.int64)
        day = batch.column("cohort_date").cast(pa.int32()).to_numpy().astype(np.int64)
        bucket = batch.column("unit_bucket").to_numpy().astype(np.int64)
        found: list[tuple[Codes | None, Codes]] = [
            (None, self._numbered(arm, day, lambda a, d: (names[a], ALL, d, NO_BUCKET))),
            (None, self._numbered(arm, bucket, lambda a, b: (names[a], ALL, None, b))),
        ]
        rows, segment = segments_of(batch.column("dimensions"))
        if len(rows):
            labels, texts = segment.indices.to_numpy().astype(np.int64), segment.dictionary.to_pylist()
            both = arm[rows] * len(texts) + labels
            codes = self._numbered(
                both, day[rows], lambda pair, d: (names[pair // len(texts)], texts[pair % len(texts)], d, NO_BUCKET)
            )
            found.append((rows, codes))
        return found

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


@dataclass
class MetricSums:
    """Counts and limbs of one metric, a column for each group."""

    index: int
    metric: Metric
    family: Family
    scales: Scales
    counts: Codes = field(init=False)
    limbs: Numbers = field(init=False)
    bins: BinCounts = field(default_factory=BinCounts)

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(COUNTS), 0), dtype=np.int64)
        self.limbs = np.zeros((len(self.family.products) * self.scales.limbs.count, 0))

    def add(self, batch: pa.RecordBatch, memberships: Sequence[tuple[Codes | None, Codes]], groups: int) -> None:
        """Add a batch of units."""
        self._grow(groups)
        flags, numbers = self._numbers(batch)
        for j, flag in enumerate(flags):
            for rows, codes in memberships:
                chosen = codes[flag if rows is None else flag[rows]]
                self.counts[j] += np.bincount(chosen, minlength=groups)
        if not numbers:
            return
        if self.metric.type == "quantile":
            self._add_bins(batch, memberships, flags[0])
        for j, product in enumerate(self.family.products.values()):
            column = numbers[product[0]]
            for letter in product[1:]:
                column = column * numbers[letter]
            if not column.any():
                continue
            for k, limb in enumerate(self.scales.limbs.cut(column)):
                total = self.limbs[j * self.scales.limbs.count + k]
                for rows, codes in memberships:
                    total += np.bincount(codes, limb if rows is None else limb[rows], minlength=groups)

    def rows(self, groups: Groups) -> pa.RecordBatch:
        """One row for each group."""
        self._grow(len(groups.keys))
        arm, segment, day, bucket = zip(*groups.keys, strict=True)
        width = self.limbs.shape[0]
        offsets = np.arange(len(arm) + 1, dtype=np.int32) * width
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(self.limbs.T).ravel()))
        keys = [pa.array([self.index] * len(arm), pa.int32()), pa.array(arm), pa.array(segment)]
        keys += [pa.array(day, pa.int32()).cast(pa.date32()), pa.array(bucket, pa.int32())]
        counts = (pa.array(c) for c in self.counts)
        return pa.RecordBatch.from_arrays([*keys, *counts, lists, *self.bins.lists(len(arm))], schema=SUMS_SCHEMA)

    def _grow(self, groups: int) -> None:
        more = groups - self.counts.shape[1]
        if more > 0:
            self.counts = np.pad(self.counts, ((0, 0), (0, more)))
            self.limbs = np.pad(self.limbs, ((0, 0), (0, more)))

    def _numbers(self, batch: pa.RecordBatch) -> tuple[list[NDArray[np.bool_]], dict[str, Numbers]]:
        """What each unit has, in the order of COUNTS; and its numbers by letter, 0 where they do not count."""
        value = _column(batch, f"y{self.index}")
        mature = batch.column(f"mature{self.index}").to_numpy(zero_copy_only=False).astype(bool)
        there = ~np.isnan(value)
        has = there & mature if self.metric.maturity_in_force == "complete" else there
        nowhere = np.zeros(len(value), dtype=bool)
        if not has_unit_values(self.metric):
            return [has, ~has, mature, nowhere, nowhere], {}
        has_x = has & ~np.isnan(_column(batch, f"x{self.index}"))
        in_did = has & mature & ~np.isnan(_column(batch, f"p{self.index}"))
        numbers = {"g": in_did.astype(float), "z": (~has_x).astype(float)}
        for letter in self.family.letters:
            name = COLUMN_OF[letter].format(self.index)
            counts = in_did if letter in "pq" else has
            number = _column(batch, name)
            numbers[letter] = np.where(counts & ~np.isnan(number), self._scaled(number, name), 0.0)
        return [has, ~has, mature, has_x, in_did], numbers

    def _add_bins(
        self, batch: pa.RecordBatch, memberships: Sequence[tuple[Codes | None, Codes]], has: NDArray[np.bool_]
    ) -> None:
        name = f"y{self.index}"
        values = self._capped(_column(batch, name), name)
        for rows, codes in memberships:
            chosen = has if rows is None else has[rows]
            self.bins.add(codes[chosen], (values if rows is None else values[rows])[chosen])

    def _capped(self, number: Numbers, name: str) -> Numbers:
        cap = self.scales.cap(name)
        return number if cap is None else np.where(number > cap, cap, number)

    def _scaled(self, number: Numbers, name: str) -> Numbers:
        """After its cap, divided by its power of two."""
        return self._capped(number, name) * power_of_two(-self.scales.exponent(name))


def _column(batch: pa.RecordBatch, name: str) -> Numbers:
    """Null is NaN: no value that passed the contract is NaN itself."""
    column: Numbers = batch.column(name).to_numpy(zero_copy_only=False).astype(float)
    return column


assert SUMS_SCHEMA.names[: len(GROUP)] == list(GROUP)
