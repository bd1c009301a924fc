"""Sums of doubles that come out the same in any order: numbers within ±1 are cut into limbs that add up exactly.

Adding and subtracting 1.5 · 2^k rounds a double to a multiple of 2^(k - 52). Each limb is a multiple of one power of
two and has so few bits that all rows together add up without any rounding: 53 bits less those of the number of rows.
With a million rows three limbs reach 96 bits below the largest number.
"""

from __future__ import annotations

LIMBS = 3
MANTISSA = 53


def limb_names(name: str) -> tuple[str, ...]:
    """Columns that hold a sum's limbs, the largest first; their own sum, in this order, is the total."""
    return tuple(f"{name}_{i}" for i in range(LIMBS))


def limb_columns(name: str, number: str, rows: int) -> list[str]:
    """SQL of the limbs of a number within ±1, to be added up over at most so many rows."""
    bits = MANTISSA - 1 - max(rows, 1).bit_length()
    columns, rest = [], f"({number})"
    for i, limb in enumerate(limb_names(name)):
        magic = f"{1.5 * 2.0 ** (MANTISSA - 1 - bits * (i + 1))!r}D"
        rounded = f"(({rest} + {magic}) - {magic})"
        columns.append(f"{rounded} as {limb}")
        rest = f"({rest} - {rounded})"
    return columns


def limb_sums(names: list[str]) -> list[str]:
    """SQL of the sums of limbs."""
    return [f"sum({limb}) as {limb}" for name in names for limb in limb_names(name)]
