"""A chart of lines by day: bands, thresholds and flagged days, in percent of its width, so that text keeps its size."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from markupsafe import Markup, escape

from exp_platform.memo.blocks import Chart, Line
from exp_platform.memo.draw.scale import Scale, scale_of, tick_decimals
from exp_platform.memo.text import clean

HEIGHT, TOP, FOOT = 200, 18, 26  # of the picture, above the lines, below them for the days
DAYS_NAMED = 5
Values = Sequence[float | None]


def chart_svg(chart: Chart) -> Markup:
    """The chart as SVG; the caption and the legend are text around it."""
    numbers = [value for line in chart.lines for value in (*line.values, *line.low, *line.high) if value is not None]
    numbers += [mark.at for mark in chart.marks]
    scale = scale_of(min(numbers, default=0.0), max(numbers, default=1.0), 5)
    floor = HEIGHT - FOOT
    inner = [part for line in chart.lines for part in _line(line, len(chart.days), scale)]
    parts = [
        f'<svg class="chart" width="100%" height="{HEIGHT}" role="img" aria-label="{escape(clean(chart.alt))}">',
        *(_grid(tick, scale) for tick in scale.ticks),
        f'<svg x="0%" y="{TOP}" width="100%" height="{floor - TOP}" viewBox="0 0 100 100" preserveAspectRatio="none">',
        *inner,
        "</svg>",
        *(_mark(mark.at, scale) for mark in chart.marks),
        *_dots(chart, scale),
        *_flags(chart, floor),
        *(_tick(tick, scale, chart) for tick in scale.ticks),
        *(_label(mark.at, mark.label, scale) for mark in chart.marks if mark.label),
        *_days(chart, floor),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704  every part is escaped or a number


def x_at(i: int, count: int) -> float:
    """The position of a day in percent; a single day stands in the middle."""
    return round(8 + 89 * i / (count - 1), 2) if count > 1 else 50.0


def _y(value: float, scale: Scale) -> float:
    return round(100 - scale.at(value), 2)


def _pixel(value: float, scale: Scale) -> float:
    return round(TOP + (HEIGHT - FOOT - TOP) * _y(value, scale) / 100, 1)


def _line(line: Line, count: int, scale: Scale) -> list[str]:
    """Bands and lines of each stretch of days with values; a gap stays a gap."""
    parts = []
    for stretch in _stretches(line.low):
        upper = [f"{x_at(i, count)},{_y(line.high[i] or 0.0, scale)}" for i in stretch]
        lower = [f"{x_at(i, count)},{_y(line.low[i] or 0.0, scale)}" for i in reversed(stretch)]
        parts.append(f'<polygon class="band s{line.style}" points="{" ".join([*upper, *lower])}"/>')
    for stretch in _stretches(line.values):
        points = " ".join(f"{x_at(i, count)},{_y(line.values[i] or 0.0, scale)}" for i in stretch)
        parts.append(f'<polyline class="line s{line.style}" points="{points}"/>')
    return parts


def _dots(chart: Chart, scale: Scale) -> list[str]:
    """A dot for each day of a line that has a gap beside it, which would be invisible as a line."""
    count, parts = len(chart.days), []
    for line in chart.lines:
        for stretch in _stretches(line.values):
            if len(stretch) == 1:
                i = stretch[0]
                y = _pixel(line.values[i] or 0.0, scale)
                parts.append(f'<circle class="dot s{line.style}" cx="{x_at(i, count)}%" cy="{y}" r="3"/>')
    return parts


def _stretches(values: Values) -> list[list[int]]:
    found: list[list[int]] = []
    for i, value in enumerate(values):
        if value is None:
            continue
        if found and found[-1][-1] == i - 1:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def _grid(tick: float, scale: Scale) -> str:
    y = _pixel(tick, scale)
    return f'<line class="{"zero" if tick == 0 else "grid"}" x1="0%" x2="100%" y1="{y}" y2="{y}"/>'


def _tick(tick: float, scale: Scale, chart: Chart) -> str:
    """The figure above a line of the grid; it is drawn after all lines, so that none crosses it."""
    digits = tick_decimals(scale.ticks, 100 if chart.unit.in_percent else 1)
    text = escape(clean(chart.unit.bare(tick, digits)))
    return f'<text class="ticks" x="0.3%" y="{_pixel(tick, scale) - 3}" text-anchor="start">{text}</text>'


def _mark(value: float, scale: Scale) -> str:
    y = _pixel(value, scale)
    return f'<line class="mark" x1="0%" x2="100%" y1="{y}" y2="{y}"/>'


def _label(value: float, label: str, scale: Scale) -> str:
    y = _pixel(value, scale) - 3
    return f'<text class="ticks" x="99.5%" y="{y}" text-anchor="end">{escape(clean(label))}</text>'


def _flags(chart: Chart, floor: int) -> list[str]:
    """A line through each flagged day; the first has the words."""
    place = {day: i for i, day in enumerate(chart.days)}
    parts, said = [], False
    for day, words in chart.flags:
        if day not in place:
            continue
        x = x_at(place[day], len(chart.days))
        parts.append(f'<line class="flag" x1="{x}%" x2="{x}%" y1="{TOP - 4}" y2="{floor}"/>')
        if not said:
            side = "end" if x > 60 else "start"
            text = escape(clean(f"{words}: {_day(day)}"))
            parts.append(f'<text class="ticks flagged" x="{x}%" y="11" text-anchor="{side}">{text}</text>')
            said = True
    return parts


def _days(chart: Chart, floor: int) -> list[str]:
    """At most so many named days, the first and the last among them."""
    count = len(chart.days)
    step = max(1, -(-(count - 1) // (DAYS_NAMED - 1))) if count > 1 else 1
    shown = list(range(count - 1, -1, -step))
    parts = [f'<line class="base" x1="0%" x2="100%" y1="{floor}" y2="{floor}"/>']
    for i in shown:
        x = x_at(i, count)
        anchor = "end" if i == count - 1 and count > 1 else "middle"
        parts.append(
            f'<text class="ticks" x="{x}%" y="{floor + 17}" text-anchor="{anchor}">{escape(_day(chart.days[i]))}</text>'
        )
    return parts


def _day(text: str) -> str:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return f"day {text}"
    return f"{found.day} {found:%b}"
