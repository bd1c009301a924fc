"""The picture of one interval in characters, for a terminal."""

from __future__ import annotations

from exp_platform.memo.blocks import Interval
from exp_platform.memo.draw.scale import Scale, scale_of, tick_decimals


def interval_line(picture: Interval, width: int) -> list[str]:
    """Two lines: the interval with zero (│) and its thresholds (┊), below them the ticks with the unit."""
    reach = picture.reach or (picture.low, picture.high)
    ends = [*reach, picture.low, picture.high, *(mark.at for mark in picture.marks)]
    unit = picture.unit.caption
    room = max(width - len(unit) - 4, 20)
    scale = scale_of(min(ends), max(ends), 5)
    drawn = ["─"] * room
    for mark in picture.marks:
        drawn[_place(mark.at, scale, room)] = "┊"
    drawn[_place(0.0, scale, room)] = "│"
    low, high = (_place(end, scale, room) for end in (picture.low, picture.high))
    for at in range(low, high + 1):
        drawn[at] = "┿" if drawn[at] in "│┊" else "━"
    drawn[low], drawn[high] = "├", "┤"
    drawn[_place(picture.effect, scale, room)] = "●"
    return ["  " + "".join(drawn), "  " + _ticks(picture, scale, room) + f"  {unit}"]


def _place(value: float, scale: Scale, room: int) -> int:
    return min(room - 1, max(0, round(scale.at(value) / 100 * (room - 1))))


def _ticks(picture: Interval, scale: Scale, room: int) -> str:
    line = [" "] * room
    digits = tick_decimals(scale.ticks, 100 if picture.unit.in_percent else 1)
    for tick in scale.ticks:
        label = picture.unit.bare(tick, digits)
        start = min(max(0, _place(tick, scale, room) - len(label) // 2), room - len(label))
        line[start : start + len(label)] = label
    return "".join(line)
