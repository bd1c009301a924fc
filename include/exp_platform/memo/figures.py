"""Numbers with units: levels and changes of a metric, rounded by the width of the interval that they stand in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MINUS = "−"
LEAST, MOST = 0, 9  # decimals


@dataclass(frozen=True)
class Unit:
    """How values of a metric and their changes are written."""

    format: str = "number"  # percent, currency, number, seconds or milliseconds
    word: str = ""  # the contract's unit
    relative: bool = False  # changes are shares of control's level

    @classmethod
    def of(cls, row: Mapping[str, Any], scale: str | None = None) -> Unit:
        """The unit of a result's facts; on another scale than the deciding one if it is given."""
        return cls(row["format"], row["unit"] or "", (scale or row["scale"]) == "relative")

    @property
    def in_percent(self) -> bool:
        """True where a change is written as a hundred times its value."""
        return self.relative or self.format == "percent"

    @property
    def caption(self) -> str:
        """The unit of a change, as an axis names it."""
        if self.relative:
            return "% of control"
        return {
            "percent": "percentage points",
            "seconds": self.word or "seconds",
            "milliseconds": self.word or "milliseconds",
        }.get(self.format, self.word)

    def decimals(self, width: float | None) -> int:
        """Decimals at which an interval of this width shows two digits.

        >>> Unit("percent").decimals(0.018), Unit("number").decimals(12)
        (1, 0)
        """
        shown = abs(width or 0.0) * (100 if self.in_percent else 1)
        if not shown or not math.isfinite(shown):
            return 2
        return min(max(LEAST, 1 - math.floor(math.log10(shown))), MOST)

    def change(self, value: float, decimals: int, *, sign: bool = True) -> str:
        """A change with its unit: `+2.5 points`, `−€0.40`, `+3.1%`."""
        number = fixed(abs(value) * (100 if self.in_percent else 1), decimals)
        lead = _sign(value, number) if sign else ""
        if self.relative:
            return f"{lead}{number}%"
        if self.format == "percent":
            return f"{lead}{number} points"
        return lead + self._with_word(number)

    def bare(self, value: float, decimals: int) -> str:
        """A change without unit and plus, as ticks show it; money and relative changes keep their sign of unit."""
        number = fixed(abs(value) * (100 if self.in_percent else 1), decimals)
        lead = _sign(value, number).replace("+", "")
        if self.relative:
            return f"{lead}{number}%"
        return f"{lead}{self._with_word(number)}" if self._has_symbol else lead + number

    def span(self, low: float, high: float, decimals: int) -> str:
        """Both ends of an interval, the unit said once: `1.6 to 3.4 points`."""
        ends = f"{self.bare(low, decimals)} to {self.bare(high, decimals)}"
        if self.relative or self._has_symbol:
            return ends
        return f"{ends} {self._suffix}".strip()

    def level(self, value: float | None, decimals: int) -> str:
        """A level of an arm: `10.2%`, `€3.74`, `292 ms`."""
        if value is None:
            return "–"
        if self.format == "percent":
            return f"{_sign(value, '').replace('+', '')}{fixed(abs(value) * 100, decimals)}%"
        number = fixed(abs(value), decimals)
        return _sign(value, number).replace("+", "") + self._with_word(number)

    @property
    def _has_symbol(self) -> bool:
        """True for money whose unit is a sign that stands before the number."""
        return self.format == "currency" and len(self.word) == 1

    @property
    def _suffix(self) -> str:
        if self.format == "percent":
            return "points"
        return {"seconds": self.word or "s", "milliseconds": self.word or "ms"}.get(self.format, self.word)

    def _with_word(self, number: str) -> str:
        if self._has_symbol:
            return f"{self.word}{number}"
        return f"{number} {self._suffix}".strip()


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals and thousands separators; beyond all reading in powers of ten.

    >>> fixed(1234.56, 1), fixed(3e20, 0)
    ('1,234.6', '3e+20')
    """
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    return f"{value:,.{decimals}f}"


def p_text(value: float | None) -> str:
    """A p-value with as many digits as say something: never 0, never 1.

    >>> p_text(0.45185), p_text(0.0312), p_text(0.99999), p_text(6e-8)
    ('0.45', '0.031', '> 0.99', '< 0.0001')
    """
    if value is None:
        return "–"
    if value > 0.99:
        return "> 0.99"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"


def p_is(value: float | None) -> str:
    """A p-value with its name: `p = 0.031`, `p < 0.0001` or `no p`."""
    if value is None:
        return "no p"
    text = p_text(value)
    return f"p {text}" if text[0] in "<>" else f"p = {text}"


def times(factor: float) -> str:
    """A factor as people say it: `86 times`, `1.8 times`, `4,300 times`."""
    if factor >= 1000:
        return f"{float(f'{factor:.2g}'):,.0f} times"
    return f"{factor:.0f} times" if factor >= 10 else f"{factor:.1f} times"


def _sign(value: float, number: str) -> str:
    if number and not number.strip("0.,"):
        return ""  # rounds to zero, which has no sign
    return MINUS if value < 0 else "+"
