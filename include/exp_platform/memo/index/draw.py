"""Pictures of a row of the index: one interval against zero and its threshold, and the course of an effect by day."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from exp_platform.memo import names
from exp_platform.memo.draw.scale import Scale, scale_of
from exp_platform.memo.index.entry import Course, Effect
from exp_platform.memo.text import clean

HEIGHT, MIDDLE = 22, 11  # of the interval
TALL = 36  # height of the course, in units of its view box, whose width is 100


def interval(effect: Effect) -> Markup:
    """The interval with zero and the thresholds, in percent of its width; the figures stand beside it as text."""
    ends = [effect.low, effect.high, *effect.marks]
    scale = scale_of(min(ends), max(ends))
    parts = [
        f'<svg class="mini {escape(effect.tone)}" width="100%" height="{HEIGHT}" aria-hidden="true">',
        *(_vertical("mark", scale.at(mark), 3, HEIGHT - 3) for mark in effect.marks),
        _vertical("zero", scale.at(0.0), 0, HEIGHT),
        f'<line class="ci" x1="{_short(scale.at(effect.low))}%" x2="{_short(scale.at(effect.high))}%" '
        f'y1="{MIDDLE}" y2="{MIDDLE}"/>',
        f'<circle class="dot" cx="{_short(scale.at(effect.effect))}%" cy="{MIDDLE}" r="5"/></svg>',
    ]
    return Markup("".join(parts))  # noqa: S704  every part is escaped or a number


def course(line: Course, tone: str) -> Markup:
    """The effect by day in its band; the scale holds every effect and the last interval, and cuts wide early bands."""
    values = [value for value in (*line.effect, line.low[-1], line.high[-1]) if value is not None]
    scale = scale_of(min(values), max(values))
    first, last = (names.day(day) for day in (line.days[0], line.days[-1]))
    words = escape(clean(f"Effect by day, {first} to {last}"))
    low, high = (_points(side, scale) for side in (line.low, line.high))
    band = " ".join([*low, *reversed(high)])
    middle = " ".join(_points(line.effect, scale))
    zero = _short(_down(0.0, scale))
    return Markup(  # noqa: S704  every part is escaped or a number
        f'<svg class="course {escape(tone)}" width="100%" height="{TALL}" viewBox="0 0 100 {TALL}" '
        f'preserveAspectRatio="none" role="img" aria-label="{words}"><polygon points="{band}"/>'
        f'<line class="zero" x1="0" x2="100" y1="{zero}" y2="{zero}"/><polyline points="{middle}"/></svg>'
    )


def _points(values: Sequence[float | None], scale: Scale) -> list[str]:
    wide = 100 / max(1, len(values) - 1)
    return [f"{_short(i * wide)},{_short(_down(v, scale))}" for i, v in enumerate(values) if v is not None]


def _down(value: float, scale: Scale) -> float:
    """The place of a value on a picture that counts from above; far outside it stays near, so that text stays short."""
    return min(max(TALL * (1 - scale.at(value) / 100), -TALL), 2 * TALL)


def _vertical(kind: str, at: float, top: int, bottom: int) -> str:
    place = _short(at)
    return f'<line class="{kind}" x1="{place}%" x2="{place}%" y1="{top}" y2="{bottom}"/>'


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
