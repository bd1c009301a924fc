"""An axis: ticks at round numbers, and positions in percent of its width, so that text keeps its size on a phone."""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
PAD = 0.06  # share of the axis that is kept free on either side


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on a picture, with its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The position of a value in percent; nothing lies outside, since the scale holds all that is drawn."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def scale_of(low: float, high: float, most: int = 6) -> Scale:
    """A scale that holds both values and 0, with at most so many ticks.

    >>> scale_of(0.016, 0.034, 5).ticks
    (0.0, 0.01, 0.02, 0.03)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    width = (high - low) or 1.0
    if not math.isfinite(width):
        low, high, width = -1.0, 1.0, 2.0
    inner = width * PAD
    low, high = low - inner if low < 0 else low - inner / 2, high + inner
    step = _step((high - low) / most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return Scale(low, high, tuple(_clean(i * step) for i in range(first, last + 1)))


def tick_decimals(ticks: tuple[float, ...], factor: float) -> int:
    """Decimals that tell neighbouring ticks apart, once multiplied by the factor of their unit."""
    if len(ticks) < 2:
        return 2
    step = abs(ticks[1] - ticks[0]) * factor
    return next((d for d in range(10) if abs(step - round(step, d)) < step * 1e-6), 10)


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * r for r in ROUND if power * r >= least * (1 - 1e-9))


def _clean(value: float) -> float:
    return float(f"{value:.12g}")
