"""The picture of one interval: zero, thresholds, ticks with their unit; nothing is clipped."""

from __future__ import annotations

from markupsafe import Markup, escape

from exp_platform.memo.blocks import Interval
from exp_platform.memo.draw.scale import Scale, scale_of, tick_decimals
from exp_platform.memo.text import clean

LINE, TICKS = 42, 58  # vertical middle of the interval, top of the axis
SMALL_LINE, SMALL_TICKS = 12, 24
WORDS, VALUES = 11, 29  # base lines of the words at marks and of the values at the interval
LONG = 6  # letters of a figure, such as −€0.04, of which a small axis has room for few
APART = 14.0  # percent of the width that two values need beside each other


def interval_svg(picture: Interval, *, small: bool = False) -> Markup:
    """The picture as SVG in percent of its width; a small one has fewer ticks and no words at its marks."""
    reach = picture.reach or (picture.low, picture.high)
    ends = [*reach, picture.low, picture.high, *(mark.at for mark in picture.marks)]
    scale = scale_of(min(ends), max(ends), 6 if small else 7)
    if small and max(len(text) for text in _ticks(scale, picture)) >= LONG:
        scale = scale_of(min(ends), max(ends), 3)  # else the figures run into each other on a phone
    middle, axis = (SMALL_LINE, SMALL_TICKS) if small else (LINE, TICKS)
    height = axis + 20
    parts = [
        f'<svg class="interval {escape(picture.tone)}" width="100%" height="{height}" role="img" '
        f'aria-label="{escape(clean(picture.alt))}">',
        _axis(scale, picture, axis),
        *(_mark(mark.at, "" if small else mark.label, scale, axis) for mark in picture.marks),
        _vertical("zero", scale.at(0.0), 2 if small else WORDS + 4, axis),
        *(() if small else _values(picture, scale)),
        f'<line class="ci" x1="{scale.at(picture.low)}%" x2="{scale.at(picture.high)}%" y1="{middle}" y2="{middle}"/>',
        *(_vertical("ci", scale.at(end), middle - 5, middle + 5) for end in (picture.low, picture.high)),
        f'<circle class="point" cx="{scale.at(picture.effect)}%" cy="{middle}" r="{5 if small else 7}"/>',
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704  every part is escaped or a number


def _axis(scale: Scale, picture: Interval, top: int) -> str:
    parts = [f'<line class="base" x1="0%" x2="100%" y1="{top}" y2="{top}"/>']
    for tick, text in zip(scale.ticks, _ticks(scale, picture), strict=True):
        at = scale.at(tick)
        parts.append(_vertical("tick", at, top, top + 4))
        parts.append(f'<text class="ticks" x="{at}%" y="{top + 16}" text-anchor="{_anchor(at)}">{escape(text)}</text>')
    return "".join(parts)


def _ticks(scale: Scale, picture: Interval) -> list[str]:
    """The figures at the ticks of the axis."""
    digits = tick_decimals(scale.ticks, 100 if picture.unit.in_percent else 1)
    return [clean(picture.unit.bare(tick, digits)) for tick in scale.ticks]


def _values(picture: Interval, scale: Scale) -> list[str]:
    """The effect in figures above its point, and the ends beside it where there is room."""
    digits = picture.unit.decimals(picture.high - picture.low)
    middle = scale.at(picture.effect)
    ends = [end for end in (picture.low, picture.high) if abs(scale.at(end) - middle) >= APART]
    return [
        f'<text class="{kind}" x="{scale.at(value)}%" y="{VALUES}" text-anchor="{_anchor(scale.at(value))}">'
        f"{escape(clean(picture.unit.bare(value, digits)))}</text>"
        for kind, value in (("value", picture.effect), *(("end", end) for end in ends))
    ]


def _mark(value: float, label: str, scale: Scale, bottom: int) -> str:
    at = scale.at(value)
    line = _vertical("mark", at, WORDS + 4 if bottom == TICKS else 2, bottom)
    if not label:
        return line
    side, gap = ("end", -1) if at > 60 else ("start", 1)
    return f'{line}<text class="ticks" x="{at + gap}%" y="{WORDS}" text-anchor="{side}">{escape(clean(label))}</text>'


def _vertical(kind: str, at: float, top: int, bottom: int) -> str:
    return f'<line class="{kind}" x1="{at}%" x2="{at}%" y1="{top}" y2="{bottom}"/>'


def _anchor(at: float) -> str:
    return "start" if at < 6 else "end" if at > 94 else "middle"
