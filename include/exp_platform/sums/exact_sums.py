"""Sums of doubles that are the same in any order: numbers within ±1 are cut into limbs that add up exactly.

Adding and subtracting 1.5 · 2^k rounds a double to a multiple of 2^(k - 52). Each limb is a multiple of one power of
two and has so few bits that all rows together add up without rounding: 53 bits less the bits of the number of rows.
`cut_out` cuts until nothing is left of any number, so that a sum is that of the numbers themselves, whatever they were
scaled by, and sums of parts add up to the last bit. Money in cents needs some 100 bits, its cubes 130.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANTISSA = 53
REACH = 70
FAR_REACH = 280

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

    def cut_out(self, numbers: Numbers) -> Iterator[Numbers]:
        """The limbs of numbers within ±1, the largest first, up to the last that is not 0 throughout."""
        rest = numbers
        for i in range(self.count):
            magic = 1.5 * 2.0 ** (MANTISSA - 1 - self.bits * (i + 1))
            limb = (rest + magic) - magic
            yield limb
            rest = rest - limb
            if not rest.any():
                return


def rounded(pieces: Sequence[Numbers]) -> Numbers:
    """The exact sum of some columns of numbers, row by row, rounded once."""
    known = [piece for i, piece in enumerate(pieces) if i == 0 or piece.any()]
    if len(known) <= 2:
        return known[0] + known[1] if len(known) == 2 else known[0] + 0.0
    with np.errstate(all="ignore"):
        total = np.asarray(sum(known[1:], start=known[0]), dtype=float)
    finite = np.flatnonzero(np.isfinite(total))  # a sum beyond the largest double stays infinite
    rows = zip(*(piece[finite].tolist() for piece in known), strict=True)
    total[finite] = np.fromiter(map(math.fsum, rows), dtype=float, count=len(finite))
    return total


def in_parts(pieces: Sequence[Numbers], count: int) -> list[Numbers]:
    """The exact sum of some columns as so many parts: rounded once, then what is left, rounded once, and so on.

    Parts say the sum itself, not how it was cut: equal sums have equal parts.
    """
    parts: list[Numbers] = []
    for _ in range(count):
        parts.append(rounded([*pieces, *(-part for part in parts)]))
    return parts
