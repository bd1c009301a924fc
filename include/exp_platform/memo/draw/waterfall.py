"""A waterfall: levels and the changes between them below each other, each with its label and figure above its bar.

Bars have no colour of a verdict: up or down is no better or worse.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from exp_platform.memo.blocks import Step, Waterfall
from exp_platform.memo.draw.scale import Scale, scale_of, tick_decimals
from exp_platform.memo.text import clean

ROW, WORDS, BAR, THICK = 46, 15, 22, 14  # height of a step, base line of its words, top and height of its bar
FOOT = 24
LEAST = 0.4  # percent of the width that a bar has at least, so that no change is invisible
LONGEST = 34  # letters of a label beside its figure on a phone


def waterfall_svg(picture: Waterfall) -> Markup:
    """The waterfall as SVG in percent of its width, so that text keeps its size on a phone."""
    values = [value for step in picture.steps for value in (step.start, step.end)]
    scale = scale_of(min(values, default=0.0), max(values, default=1.0), 6)
    bottom = ROW * len(picture.steps)
    parts = [
        f'<svg class="waterfall" width="100%" height="{bottom + FOOT}" role="img" '
        f'aria-label="{escape(clean(picture.alt))}">',
        *(_tick(tick, scale, picture, bottom) for tick in scale.ticks),
        *(_join(step.end, i * ROW, scale) for i, step in enumerate(picture.steps[:-1])),
        *(_bar(step, i * ROW, scale) for i, step in enumerate(picture.steps)),
        *(_words(step, i * ROW) for i, step in enumerate(picture.steps)),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704  every part is escaped or a number


def _bar(step: Step, top: int, scale: Scale) -> str:
    left, right = sorted((scale.at(step.start), scale.at(step.end)))
    width, kind = max(round(right - left, 2), LEAST), "bar" if step.is_level else "part"
    return f'<rect class="{kind}" x="{left}%" y="{top + BAR}" width="{width}%" height="{THICK}"/>'


def _words(step: Step, top: int) -> str:
    """The label and the figure of a step, drawn over the lines that they cross."""
    kind = "step level" if step.is_level else "step"
    return (
        f'<text class="{kind}" x="0%" y="{top + WORDS}" text-anchor="start">{escape(_short(step.label))}</text>'
        f'<text class="{kind}" x="100%" y="{top + WORDS}" text-anchor="end">{escape(clean(step.figure))}</text>'
    )


def _join(value: float, top: int, scale: Scale) -> str:
    """A line from the end of a bar to the next one."""
    at = scale.at(value)
    return f'<line class="join" x1="{at}%" x2="{at}%" y1="{top + BAR + THICK}" y2="{top + ROW + BAR}"/>'


def _tick(tick: float, scale: Scale, picture: Waterfall, bottom: int) -> str:
    at, digits = scale.at(tick), tick_decimals(scale.ticks, 100 if picture.unit.in_percent else 1)
    anchor = "start" if at < 6 else "end" if at > 94 else "middle"
    text = escape(clean(picture.unit.bare(tick, digits)))
    return (
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="{at}%" x2="{at}%" y1="0" y2="{bottom}"/>'
        f'<text class="ticks" x="{at}%" y="{bottom + 16}" text-anchor="{anchor}">{text}</text>'
    )


def _short(label: str) -> str:
    """A label that leaves room for its figure; whole labels stand in the text alternative."""
    text = clean(label)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
