"""Caps and scales of the numbers of unit rows; the batches that the rows come in make no difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from exp_platform.config.models import Cap, Metric
from exp_platform.sums.exact_sums import Numbers
from exp_platform.sums.numbers import Number, all_numbers, in_columns
from exp_platform.sums.scales import Scale, Scales, exponent_of

ENDS_SCHEMA = pa.schema(
    [
        ("number", pa.string()),
        ("units", pa.int64()),  # rows of the partition
        ("present", pa.int64()),  # rows of the partition where the number is not null
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("largest", pa.list_(pa.float64())),  # for a quantile cap: as many of the largest values as hold its rank
    ]
)
ENDS_SQL = "number string, units bigint, present bigint, low double, high double, largest array<double>"


@dataclass
class Ends:
    """The range of one number: how many values, the smallest, the largest, and for a quantile cap the upper tail."""

    keep: int = 0
    present: int = 0
    low: float | None = None
    high: float | None = None
    largest: Numbers = field(default_factory=lambda: np.zeros(0))

    def add(self, column: Numbers) -> None:
        """Add values of the number; NaN stands for null."""
        missing = int(np.count_nonzero(np.isnan(column)))
        if missing == len(column):
            return
        low, high = float(np.fmin.reduce(column)), float(np.fmax.reduce(column))
        self.present += len(column) - missing
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        if self.keep:
            values = column[~np.isnan(column)] if missing else column
            self.largest = _largest(np.concatenate([self.largest, values]), self.keep)

    def quantile(self, quantile: float) -> float | None:
        """The quantile of all values, by linear interpolation between the two enclosing ranks; None without values."""
        if not self.present:
            return None
        position = quantile * (self.present - 1)
        rank = math.floor(position)
        ordered = np.sort(self.largest)
        missing = self.present - len(ordered)
        low, high = (float(ordered[r - missing]) for r in (rank, min(rank + 1, self.present - 1)))
        return low + (high - low) * (position - rank)

    def magnitude(self, cap: float | None) -> float:
        """The largest absolute value after the cap."""
        if self.low is None or self.high is None:
            return 0.0
        ends = (self.low, self.high) if cap is None else (min(self.low, cap), min(self.high, cap))
        return max(abs(end) for end in ends)


def unit_ends(batches: Iterable[pa.RecordBatch], metrics: Sequence[Metric], units: int) -> Iterator[pa.RecordBatch]:
    """The range of every number in one partition's unit rows; `units` is the number of rows in all partitions."""
    ends = {n.column: Ends(_kept(n, units)) for n in all_numbers(metrics)}
    rows = 0
    for batch in batches:
        rows += len(batch)
        columns = in_columns(batch, metrics)
        for name, end in ends.items():
            end.add(columns[name])
    if rows:
        found = {
            "number": list(ends),
            "units": [rows] * len(ends),
            **{name: [getattr(end, name) for end in ends.values()] for name in ENDS_SCHEMA.names[2:]},
        }
        yield pa.RecordBatch.from_pydict(found, schema=ENDS_SCHEMA)


def pooled_scales(found: pa.Table, metrics: Sequence[Metric], units: int) -> Scales:
    """Cap and exponent of every number, from all non-null values of included units, all arms pooled.

    Value, covariate and pre-period are each capped by their own distribution, as are a ratio's two parts. A cap of 0 is
    not applied, because every value would become 0.
    """
    numbers = all_numbers(metrics)
    ends = _merged(found, {n.column: _kept(n, units) for n in numbers})
    scales = {}
    for n in numbers:
        end = ends[n.column]
        cap = _in_force(n.metric.cap, end)
        scales[n.column] = Scale(cap, exponent_of(end.magnitude(cap)))
    return Scales(units, scales)


def caps_not_applied(scales: Scales, metrics: Sequence[Metric]) -> list[str]:
    """A warning for each metric whose cap is 0 and was therefore not applied."""
    return [
        f"metric '{n.metric.name}': the cap of {n.key} is 0 and was not applied: at least that share of units is at 0"
        for n in all_numbers(metrics)
        if n.metric.cap is not None and n.source == "metrics" and scales.cap(n.column) is None and scales.units
    ]


def _merged(found: pa.Table, keep: Mapping[str, int]) -> dict[str, Ends]:
    ends = {name: Ends(k) for name, k in keep.items()}
    for row in found.select(["number", "present", "low", "high"]).to_pylist():
        end = ends[row["number"]]
        end.present += row["present"]
        if row["present"]:
            end.low = row["low"] if end.low is None else min(end.low, row["low"])
            end.high = row["high"] if end.high is None else max(end.high, row["high"])
    for name, values in zip(found["number"].to_pylist(), found["largest"], strict=True):
        if ends[name].keep:
            ends[name].largest = np.concatenate([ends[name].largest, values.values.to_numpy()])
    return ends


def _kept(number: Number, units: int) -> int:
    """How many of the largest values must be kept for the cap's quantile, whatever share of units has a value."""
    cap = number.metric.cap
    if cap is None or cap.quantile is None:
        return 0
    return units - math.floor(cap.quantile * max(units - 1, 0))


def _largest(values: Numbers, count: int) -> Numbers:
    return values if len(values) <= count else np.partition(values, len(values) - count)[-count:]


def _in_force(cap: Cap | None, end: Ends) -> float | None:
    if cap is None:
        return None
    value = cap.value if cap.value is not None else end.quantile(cap.quantile or 0.0)
    return value or None
