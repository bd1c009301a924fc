"""Caps of metrics, and the exact order statistics that pooled quantile caps are made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.stats.quantile import BIN_SQL


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value of a column over all included units; None where it has none."""

    low: float | None
    high: float | None

    def magnitude(self, cap: float | None) -> float:
        """Largest absolute value after the cap."""
        if self.low is None or self.high is None:
            return 0.0
        ends = (self.low, self.high) if cap is None else (min(self.low, cap), min(self.high, cap))
        return max(abs(end) for end in ends)


def column_bounds(frame: DataFrame, columns: tuple[str, ...]) -> tuple[int, dict[str, Bounds]]:
    """Number of rows, and the bounds of each column."""
    ends = (f(c).alias(f"{c}_{f.__name__}") for c in columns for f in (F.min, F.max))
    row = frame.agg(F.count(F.lit(1)).alias("rows"), *ends).collect()[0]
    return row["rows"], {c: Bounds(row[f"{c}_min"], row[f"{c}_max"]) for c in columns}


def pooled_quantiles(frame: DataFrame, wanted: Mapping[str, float]) -> dict[str, float | None]:
    """Quantile of each column's non-null values by linear interpolation, exactly; None where there are none.

    Two passes and little memory: counts per bin of the shared histogram, then the values of the one or two bins that
    hold the ranks asked for.
    """
    if not wanted:
        return {}
    names = sorted(wanted)
    pairs = F.array(*(F.struct(F.lit(i).alias("k"), F.col(name).alias("v")) for i, name in enumerate(names)))
    long = frame.select(F.inline(pairs)).where(F.col("v").isNotNull())
    long = long.withColumn("bin", F.expr(BIN_SQL.format(v="v")))
    counts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for k, bin_, n in long.groupBy("k", "bin").count().collect():
        counts[k].append((bin_, n))
    ranks = {k: _ranks(sum(n for _, n in bins), wanted[names[k]]) for k, bins in counts.items()}
    targets = {(k, _locate(sorted(counts[k]), rank)[0]) for k in counts for rank in ranks[k][:2]}
    exact = _values_in(long, targets)
    quantiles: dict[str, float | None] = dict.fromkeys(names)
    for k, (low, high, weight) in ranks.items():
        a, b = (_value_at(sorted(counts[k]), exact, k, rank) for rank in (low, high))
        quantiles[names[k]] = a + (b - a) * weight
    return quantiles


def capped(value: str, cap: float | None) -> str:
    """SQL of the value, or of the cap where it is larger; null stays null."""
    return value if cap is None else f"if({value} > {cap!r}D, {cap!r}D, {value})"


def _ranks(n: int, quantile: float) -> tuple[int, int, float]:
    position = quantile * (n - 1)
    low = math.floor(position)
    return low, min(low + 1, n - 1), position - low


def _locate(bins: list[tuple[int, int]], rank: int) -> tuple[int, int]:
    """The bin that holds a rank, and the rank within it."""
    for key, count in bins:
        if rank < count:
            return key, rank
        rank -= count
    raise ValueError(f"rank {rank} lies beyond the last bin")


def _values_in(long: DataFrame, targets: set[tuple[int, int]]) -> dict[tuple[int, int], list[tuple[float, int]]]:
    """Sorted values with their counts in some bins."""
    here = F.lit(False)
    for k, bin_ in sorted(targets):
        here = here | ((F.col("k") == k) & (F.col("bin") == bin_))
    found: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for k, bin_, value, count in long.where(here).groupBy("k", "bin", "v").count().collect():
        found[k, bin_].append((value, count))
    return {key: sorted(values) for key, values in found.items()}


def _value_at(
    bins: list[tuple[int, int]], exact: dict[tuple[int, int], list[tuple[float, int]]], k: int, rank: int
) -> float:
    key, within = _locate(bins, rank)
    for value, count in exact[k, key]:
        if within < count:
            return value
        within -= count
    raise ValueError(f"rank {rank} lies beyond the values of its bin")
