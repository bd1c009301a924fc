"""The scale of a number before it is added up: its cap, and the power of two that brings it within ±1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exp_platform.sums.exact_sums import FAR_REACH, Limbs


@dataclass(frozen=True)
class Scale:
    """The cap in force, None without one, and the exponent of the power of two that the number is divided by."""

    cap: float | None
    exponent: int


@dataclass(frozen=True)
class Scales:
    """The scale of every number, and the number of units to add up."""

    units: int
    by_column: dict[str, Scale]

    @property
    def limbs(self) -> Limbs:
        """How the numbers are cut into limbs."""
        return Limbs(self.units, FAR_REACH)

    def cap(self, column: str) -> float | None:
        """The cap in force on a number; None without one."""
        return self.by_column[column].cap if column in self.by_column else None

    def exponent(self, column: str) -> int:
        """The exponent of a number's power of two; 0 for a number that no unit has."""
        return self.by_column[column].exponent if column in self.by_column else 0


def exponent_of(bound: float | None) -> int:
    """The smallest e with bound <= 2^e; 0 for no bound or a bound of 0."""
    if not bound:
        return 0
    mantissa, exponent = math.frexp(bound)
    return max(exponent - (mantissa == 0.5), -1000)


def power_of_two(exponent: int) -> float:
    """2^exponent, or the largest power that a double holds."""
    return math.ldexp(1.0, min(exponent, 1023))
