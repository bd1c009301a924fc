"""Exact sums by group of units, as Spark's tasks return them, turned into totals by arithmetic without a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.metrics.families import COLUMN_OF, Family
from exp_platform.sums.exact_sums import in_parts, rounded
from exp_platform.sums.scales import Scales, power_of_two

GROUP = ("metric", "variant_id", "segment", "cohort_date", "unit_bucket")
ALL = "all"
NO_BUCKET = -1

Numbers = NDArray[np.float64]


def with_empty_arms(sums: pa.Table, family: Family, variants: Sequence[str]) -> pa.Table:
    """The sums, with a row of zeros added (all, no date, bucket -1) for each metric × live arm without any unit."""
    seen = set(sums["variant_id"].to_pylist())
    rows = [
        {"metric": i, "variant_id": variant, "segment": ALL, "cohort_date": None, "unit_bucket": NO_BUCKET}
        for i, _ in family.members
        for variant in variants
        if variant not in seen
    ]
    zeros: dict[str, int] = {name: 0 for name in sums.column_names if name not in GROUP}
    return pa.concat_tables([sums, pa.Table.from_pylist([{**row, **zeros} for row in rows], sums.schema)])


def roll_up(sums: pa.Table, by: Sequence[str]) -> pa.Table:
    """Sums by coarser groups; exact limbs may be added in any order."""
    added = [name for name in sums.column_names if name not in GROUP]
    merged = sums.group_by(list(by)).aggregate([(name, "sum") for name in added])
    return merged.rename_columns([name.removesuffix("_sum") for name in merged.column_names])


def covariate_means(sums: pa.Table, family: Family, scales: Scales) -> dict[int, float]:
    """Pooled mean of each plain metric's covariate, over the units with one; it replaces a null covariate."""
    if family.name != "plain":
        return {}
    pooled = roll_up(sums.filter(pc.field("unit_bucket") != NO_BUCKET), ["metric"])
    totals = Totals(pooled, family, scales, {})
    means = zip(pooled["metric"].to_pylist(), totals.plain("x"), pooled["n_x"].to_pylist(), strict=True)
    return {metric: float(x) / n for metric, x, n in means if n}


@dataclass(frozen=True)
class Totals:
    """The sums of one family's groups as doubles, null covariates replaced by the pooled mean."""

    sums: pa.Table
    family: Family
    scales: Scales
    means: dict[int, float]

    def sum(self, product: str) -> Numbers:
        """One sum of products per group; 0 for a product that the family lacks."""
        if product not in self.family.products:
            return np.zeros(self.sums.num_rows)
        plain = self.plain(product)
        if product[0] != "x" or not self.means:
            return plain
        missing = self._count("n") - self._count("n_x")
        mean = np.array([self.means.get(i, 0.0) for i in self.sums["metric"].to_pylist()])
        if product in ("x", "xx"):
            return np.asarray(plain + missing * mean ** len(product))
        others = "y_without_x" if product == "xy" else f"z{product[1]}"
        return np.asarray(plain + self.plain(others) * mean)

    def plain(self, product: str) -> Numbers:
        """One sum of products per group, rounded once, with null covariates counted as 0."""
        return rounded(self.pieces(product))

    def rest(self, product: str) -> Numbers:
        """The exact sum less `sum`, rounded once; 0 where a covariate took the pooled mean, which is not exact."""
        if product not in self.family.products:
            return np.zeros(self.sums.num_rows)
        left = in_parts(self.pieces(product), 2)[1]
        if product[0] != "x" or not self.means:
            return left
        return np.where(self._count("n") > self._count("n_x"), 0.0, left)

    def pieces(self, product: str) -> list[Numbers]:
        """The limbs of one sum of products per group, scaled back by the powers of two; they add up exactly."""
        letters = [COLUMN_OF[letter] for letter in self.family.products[product] if letter in COLUMN_OF]
        scale = {
            i: power_of_two(sum(self.scales.exponent(name.format(i)) for name in letters))
            for i, _ in self.family.members
        }
        size = np.array([scale[i] for i in self.sums["metric"].to_pylist()], dtype=float)
        names = (f"{product}_{i}" for i in range(self.scales.limbs.count))
        known = set(self.sums.column_names)
        return [self.sums[limb].to_numpy() * size for limb in names if limb in known]

    def vector(self, letters: str, prefix: str = "", suffix: str = "") -> pa.Array:
        """Sums of single letters, one list per group."""
        return _lists([self.sum(prefix + letter + suffix) for letter in letters], self.sums.num_rows)

    def matrix(self, letters: str, prefix: str = "") -> pa.Array:
        """Sums of pairs of letters, one row-major list per group."""
        upper = {pair: self.sum(prefix + "".join(pair)) for pair in combinations_with_replacement(letters, 2)}
        full = [upper[a, b] if (a, b) in upper else upper[b, a] for a in letters for b in letters]
        return _lists(full, self.sums.num_rows)

    def _count(self, name: str) -> Numbers:
        return np.asarray(self.sums[name].to_numpy(), dtype=float)


def _lists(columns: Sequence[Numbers], rows: int) -> pa.Array:
    width = len(columns)
    flat = np.stack(columns, axis=1).ravel() if width else np.zeros(0)
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.float64()))
