"""A memo as Markdown: a picture becomes its sentence, a row with a verdict a line of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from exp_platform.memo import blocks as b
from exp_platform.memo.text import code
from exp_platform.memo.text import markdown as md


def document(memo: b.Memo) -> str:
    """The whole file."""
    parts = [_first(memo.first)]
    for section in memo.sections:
        parts += [f"## {md(section.title)}", *_blocks(section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _first(first: b.FirstScreen) -> str:
    lines = [
        f"# {md(first.title)}",
        f"{code(first.experiment_id)} · {md(first.owner)} · {md(first.as_of)}, {md(first.next_due)}",
        f"**{md(first.word)}** ({md(first.trust_word)})",
    ]
    lines += [md(first.because)] if first.because else []
    for arm in first.arms:
        lead = f"**{md(arm.name)}: {md(arm.decision)}.** " if arm.decision else ""
        lines.append(lead + md(arm.sentence))
    lines.append(
        "\n".join(
            (
                f"- Trust: {md(first.trust)}",
                f"- Guardrails: {md(first.guardrails)}",
                f"- Next: {md(first.next_step)}",
            )
        )
    )
    return "\n\n".join(lines)


def _blocks(blocks: Iterable[Any]) -> list[str]:
    return [_BLOCKS[type(block)](block) for block in blocks]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(heads), "|" + "---|" * len(heads), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(md(cell) for cell in cells) + " |"


def _results(block: b.Results) -> str:
    rows = [
        (
            row.title + (f" ({row.about})" if row.about else ""),
            row.verdict,
            row.figures,
            " ".join(part for part in (row.sentence, *(f"Mark: {mark}." for mark in row.marks)) if part),
        )
        for row in block.rows
    ]
    table = _table(("Metric", "Verdict", "Change (interval)", "In words"), rows)
    opened = [line for row in block.rows for line in _more(row)]
    return "\n\n".join([table, *opened])


def _more(row: b.Result) -> list[str]:
    """The opened row as one line, which a reader of text sees at once."""
    return [
        f"{md(row.title)}: " + "; ".join(f"{md(label)} {md(value)}" for label, value in block.pairs)
        for block in row.more
        if isinstance(block, b.Facts)
    ]


def _chart(chart: b.Chart) -> str:
    flags = "".join(f" {words}: {day}." for day, words in chart.flags)
    return f"**{md(chart.title)}.** {md(chart.alt)}.{md(flags) and ' ' + md(flags)}"


def _waterfall(picture: b.Waterfall) -> str:
    title = f"{picture.title} ({picture.caption})" if picture.caption else picture.title
    rows = [(step.label, "level" if step.is_level else "change", step.figure) for step in picture.steps]
    return "\n\n".join([f"**{md(title)}**", _table(("Step", "", "Figure"), rows)])


def _fold(fold: b.Fold) -> str:
    return "\n\n".join([f"### {md(fold.title)}", *_blocks(fold.blocks)])


def _card(card: b.Card) -> str:
    word = {"fail": "Failed", "warn": "Warning"}.get(card.tone, card.tone)
    return "\n\n".join([f"**{word}: {md(card.title)}**", *_blocks(card.blocks)])


_BLOCKS: dict[type, Callable[[Any], str]] = {
    b.Text: lambda block: md(block.text),
    b.Heading: lambda block: f"### {md(block.text)}",
    b.Bullets: lambda block: "\n".join(f"- {md(item)}" for item in block.items),
    b.Facts: lambda block: "\n".join(f"- {md(label)}: {md(value)}" for label, value in block.pairs),
    b.Command: lambda block: f"{md(block.says)} {code(block.command)}",
    b.Query: lambda block: f"{md(block.says)} {code(block.sql)}",
    b.Table: lambda block: _table(block.heads, block.rows),
    b.Results: _results,
    b.Chart: _chart,
    b.Waterfall: _waterfall,
    b.Fold: _fold,
    b.Card: _card,
}
