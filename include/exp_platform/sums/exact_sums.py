"""Sums of doubles that are the same in any order: numbers within ±1 are cut into limbs that add up exactly.

Adding and subtracting 1.5 · 2^k rounds a double to a multiple of 2^(k - 52). Each limb is a multiple of one power of
two and has so few bits that all rows together add up without rounding: 53 bits less the bits of the number of rows.
As many limbs are used as reach 70 bits below the largest number: two up to 131,000 rows, three up to 268 million;
more where only a generous bound of the largest number is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANTISSA = 53
REACH = 70

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Limbs:
    """How numbers are cut into limbs, so that up to `rows` of them add up exactly."""

    rows: int
    reach: int = REACH  # bits below 1

    @property
    def bits(self) -> int:
        """Number of bits of one limb."""
        return MANTISSA - 1 - max(self.rows, 1).bit_length()

    @property
    def count(self) -> int:
        """Number of limbs."""
        return -(-self.reach // self.bits)

    def names(self, name: str) -> tuple[str, ...]:
        """Names of the columns with a sum's limbs, the largest first; adding them in this order gives the total."""
        return tuple(f"{name}_{i}" for i in range(self.count))

    def cut(self, numbers: Numbers) -> Iterator[Numbers]:
        """The limbs of numbers within ±1, the largest first."""
        rest = numbers
        for i in range(self.count):
            magic = 1.5 * 2.0 ** (MANTISSA - 1 - self.bits * (i + 1))
            limb = (rest + magic) - magic
            yield limb
            rest = rest - limb
