"""The verdict on a cell, a metric in one arm: how many of its published numbers were compared, and which differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Any

Group = tuple[str, str, date | None]  # arm, segment, cohort date
ALL = "all"
NO_BUCKET = -1
TOLERANCE = 1e-12  # relative, for numbers that rounding touches
EXAMPLES = 3  # differences that a cell names


@dataclass
class Cell:
    """The verdict on one metric in one arm."""

    metric_name: str
    variant_id: str
    compared: int = 0
    differ: int = 0
    not_checked: int = 0
    examples: list[str] = field(default_factory=list)

    def number(self, name: str, published: Any, again: Any, *, exact: bool, scale: float = 0.0) -> None:
        """Compare one number: to the last bit, or to 1e-12 of itself or of the scale of what it was made from."""
        self._count(same(published, again, exact=exact, scale=scale), name, published, repr(again))

    def between(self, name: str, published: Any, ends: tuple[float, float] | None) -> None:
        """Compare one number that is known up to two ends, to 1e-12 of them; without ends it must be null."""
        if ends is None or published is None:
            self._count(published is None and ends is None, name, published, repr(ends))
            return
        low, high = ends
        equal = low <= published <= high or any(same(published, end, exact=False) for end in ends)
        self._count(equal, name, published, repr(low) if low == high else f"from {low!r} to {high!r}")

    def _count(self, equal: bool, name: str, published: Any, again: str) -> None:
        self.compared += 1
        if not equal:
            self.differ += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(f"{name}: published {published!r}, computed again {again}")


def same(published: Any, again: Any, *, exact: bool, scale: float = 0.0) -> bool:
    """True for equal numbers; None is only equal to None."""
    if published is None or again is None:
        return published is again
    near = math.isclose(published, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
    return bool(published == again or (near and not exact))
