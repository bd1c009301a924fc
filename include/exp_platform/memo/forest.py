"""A forest plot of one effect and its interval: inline SVG without scripts, with a label for screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 320, 28
PAD = 8
MARGIN = 1.08  # room between the widest interval and the end of the axis


def axis_limit(intervals: Sequence[tuple[float | None, float | None]]) -> float:
    """Half-width of a common axis: that of the widest interval, but at most eight times the median; the rest is cut."""
    reaches = sorted(max(abs(low), abs(high)) for low, high in intervals if low is not None and high is not None)
    if not reaches:
        return 1.0
    return MARGIN * min(reaches[-1], 8 * reaches[(len(reaches) - 1) // 2]) or 1.0


def forest_svg(
    estimate: float | None,
    low: float | None,
    high: float | None,
    limit: float,
    *,
    tone: str,
    label: str,
    threshold: float = 0.0,
    margin: float | None = None,
) -> str:
    """Draw one interval around 0: a cut end as arrow, the practical threshold as band, a guardrail's margin as line."""

    def x(value: float) -> float:
        inside = max(-limit, min(limit, value))
        return round(WIDTH / 2 + inside / limit * (WIDTH / 2 - PAD), 1)

    middle = HEIGHT / 2
    parts = [
        f'<svg class="forest {escape(tone)}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
        f'<line class="base" x1="{PAD}" x2="{WIDTH - PAD}" y1="{middle}" y2="{middle}"/>',
    ]
    if threshold > 0:
        left, right = x(-threshold), x(threshold)
        parts.append(f'<rect class="band" x="{left}" y="3" width="{round(right - left, 1)}" height="{HEIGHT - 6}"/>')
    parts.append(f'<line class="zero" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="1" y2="{HEIGHT - 1}"/>')
    if margin is not None:
        parts.append(f'<line class="margin" x1="{x(margin)}" x2="{x(margin)}" y1="1" y2="{HEIGHT - 1}"/>')
    if estimate is not None and low is not None and high is not None:
        parts.append(f'<line class="ci" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/>')
        parts.append(_end(x(low), low < -limit, -1))
        parts.append(_end(x(high), high > limit, 1))
        if abs(estimate) <= limit:
            parts.append(f'<circle class="point" cx="{x(estimate)}" cy="{middle}" r="5"/>')
    return "".join([*parts, "</svg>"])


def _end(at: float, cut: bool, side: int) -> str:
    middle = HEIGHT / 2
    if cut:
        return f'<path class="tip" d="M{at + 6 * side} {middle} l{-8 * side} -5 v10 z"/>'
    return f'<line class="ci" x1="{at}" x2="{at}" y1="{middle - 5}" y2="{middle + 5}"/>'
