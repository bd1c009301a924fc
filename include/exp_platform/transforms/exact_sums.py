"""Sums of doubles that come out the same in any order: numbers within ±1 are cut into limbs that add up exactly.

Adding and subtracting 1.5 · 2^k rounds a double to a multiple of 2^(k - 52). Each limb is a multiple of one power of
two and small enough that up to 2^27 of them add up without any rounding; the three limbs reach down to 2^-80.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

MAX_UNITS = 2**27
_MAGIC = (1.5 * 2.0**26, 1.5 * 2.0**-1, 1.5 * 2.0**-28)
LIMBS = len(_MAGIC)


def exponent_of(bound: float | None) -> int:
    """Smallest e with bound <= 2^e; 0 for nothing at all."""
    if not bound:
        return 0
    mantissa, exponent = math.frexp(bound)
    return max(exponent - (mantissa == 0.5), -1000)


def limb_names(name: str) -> tuple[str, ...]:
    """Columns that hold a sum's limbs."""
    return tuple(f"{name}_{i}" for i in range(LIMBS))


def limb_sums(name: str, number: Column) -> list[Column]:
    """Aggregates that add up a number within ±1, limb by limb."""
    columns, rest = [], number
    for magic, limb in zip(_MAGIC, limb_names(name), strict=True):
        rounded = (rest + F.lit(magic)) - F.lit(magic)
        columns.append(F.sum(rounded).alias(limb))
        rest = rest - rounded
    return columns


def merge_limbs(names: Iterable[str]) -> list[Column]:
    """Aggregates that add up limbs of groups."""
    return [F.sum(limb).alias(limb) for name in names for limb in limb_names(name)]


def total(name: str, scale: Column) -> Column:
    """The sum as a double, scaled back."""
    limbs: Sequence[Column] = [F.col(limb) for limb in limb_names(name)]
    return reduce(lambda high, low: high + low, limbs) * scale


def power_of_two(exponent: int) -> float:
    """2^exponent, the largest power that a double holds beyond it."""
    return math.ldexp(1.0, min(exponent, 1023))
