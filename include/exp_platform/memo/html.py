"""A memo as one HTML file: every text is escaped here, once for each block."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from exp_platform.memo import blocks as b
from exp_platform.memo.draw.chart import chart_svg
from exp_platform.memo.draw.interval import interval_svg
from exp_platform.memo.draw.waterfall import waterfall_svg
from exp_platform.memo.text import clean

_PAGE = Markup(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<title>{head}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{first}\n{sections}\n</main>\n</body>\n"
    "</html>\n"
)


def page(memo: b.Memo) -> str:
    """The whole file."""
    style = resources.files("exp_platform.memo").joinpath("templates", "memo.css").read_text(encoding="utf-8")
    sections = Markup("\n").join(_section(section) for section in memo.sections)
    return str(
        _PAGE.format(head=text(memo.head), style=Markup(style), first=first_screen(memo.first), sections=sections)  # noqa: S704  every part is escaped or a number
    )


def text(value: object) -> Markup:
    """Text on one line, escaped."""
    return escape(clean(value))


def first_screen(first: b.FirstScreen) -> Markup:
    """All above the fold."""
    arms = _join(_arm(arm) for arm in first.arms)
    because = _tag("p", first.because, "because") if first.because else ""
    return Markup(
        '<section class="first {tone}" aria-label="Decision">\n'
        '<header><h1 dir="auto">{title}</h1><p class="soft"><bdi>{owner}</bdi> · {as_of}, {due}</p></header>\n'
        '<div class="call"><div><p class="word">{word}</p>{because}</div>'
        '<div class="trust"><p class="badge {trust_tone}">{trust_word}</p><p>{trust}</p></div></div>\n'
        '<div class="arms">{arms}</div>\n'
        '<dl class="lines"><div><dt>Guardrails</dt><dd>{guardrails}</dd></div>'
        '<div class="next"><dt>Next</dt><dd>{next}</dd></div></dl>\n</section>'
    ).format(
        tone=first.tone,
        title=text(first.title),
        owner=text(first.owner),
        as_of=text(first.as_of),
        due=text(first.next_due),
        word=text(first.word),
        because=because,
        trust_tone=first.trust_tone,
        trust_word=text(first.trust_word),
        trust=text(first.trust),
        arms=arms,
        guardrails=text(first.guardrails),
        next=text(first.next_step),
    )


def _arm(arm: b.Arm) -> Markup:
    name = Markup('<p class="arm"><b>{}</b> {}</p>').format(text(arm.name), text(arm.decision)) if arm.decision else ""
    drawn = Markup("{}{}").format(interval_svg(arm.picture), _caption(arm.picture)) if arm.picture else ""
    return Markup('<div class="one">{}<p class="effect">{}</p>{}</div>').format(name, text(arm.sentence), drawn)


def _caption(picture: b.Interval) -> Markup:
    unit = picture.unit.caption
    left, right = (Markup("<span>{}</span>").format(text(side)) for side in _arrows(picture.sides))
    return Markup('<p class="unit">{}<span>{}</span>{}</p>').format(
        left, text(f"change, in {unit}" if unit else "change"), right
    )


def _arrows(sides: tuple[str, str]) -> tuple[str, str]:
    left, right = sides
    return (f"← {left}" if left else "", f"{right} →" if right else "")


def _section(section: b.Section) -> Markup:
    return Markup(
        '<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{title}</h2>\n{body}\n</section>'
    ).format(key=text(section.key), title=text(section.title), body=_blocks(section.blocks))


def _blocks(blocks: Iterable[Any]) -> Markup:
    return Markup("\n").join(_BLOCKS[type(block)](block) for block in blocks)


def _table(table: b.Table) -> Markup:
    def row(cells: Iterable[str], tag: str) -> Markup:
        return _join(
            Markup("<{0}{1}>{2}</{0}>").format(
                Markup(tag),  # noqa: S704  th or td
                Markup(' class="n"') if i in table.numeric else Markup(""),
                text(cell),
            )
            for i, cell in enumerate(cells)
        )

    body = _join(Markup("<tr>{}</tr>\n").format(row(cells, "td")) for cells in table.rows)
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="Table: {}"><table><thead><tr>{}</tr></thead>\n'
        "<tbody>\n{}</tbody></table></div>"
    ).format(text(table.title or ", ".join(table.heads)), row(table.heads, "th"), body)


def _results(results: b.Results) -> Markup:
    return Markup('<div class="rows">{}</div>').format(_join(_result(row) for row in results.rows))


def _result(row: b.Result) -> Markup:
    drawn = Markup("{}").format(interval_svg(row.picture, small=True)) if row.picture else Markup("")
    marks = _join(Markup('<li class="mark">{}</li>').format(text(mark)) for mark in row.marks)
    more = (
        Markup('<details><summary>Details<span class="hidden"> of {}</span></summary>{}</details>').format(
            text(row.title), _blocks(row.more)
        )
        if row.more
        else ""
    )
    return Markup(
        '<div class="row {tone}"><div class="name"><b>{title}</b><span class="soft">{about}</span></div>'
        '<div class="drawn">{drawn}</div><div class="figures"><span class="verdict">{verdict}</span> {figures}</div>'
        '<div class="said"><span class="soft">{sentence}</span>{marks}{more}</div></div>'
    ).format(
        tone=row.tone,
        title=text(row.title),
        about=text(row.about),
        drawn=drawn,
        verdict=text(row.verdict),
        figures=text(row.figures),
        sentence=text(row.sentence),
        marks=Markup("<ul>{}</ul>").format(marks) if row.marks else "",
        more=more,
    )


def _chart(chart: b.Chart) -> Markup:
    legend = _join(
        Markup('<li class="{}s{}">{}</li>').format("" if line.values else "wide ", line.style, text(line.label))
        for line in chart.lines
    )
    title = f"{chart.title} ({chart.caption})" if chart.caption else chart.title
    return Markup(
        '<figure><figcaption>{}</figcaption>{}<ul class="legend" aria-label="Lines of the chart">{}</ul></figure>'
    ).format(text(title), chart_svg(chart), legend)


def _waterfall(picture: b.Waterfall) -> Markup:
    title = f"{picture.title} ({picture.caption})" if picture.caption else picture.title
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(text(title), waterfall_svg(picture))


def _fold(fold: b.Fold) -> Markup:
    return Markup("<details{}><summary>{}</summary>{}</details>").format(
        Markup(" open") if fold.is_open else "", text(fold.title), _blocks(fold.blocks)
    )


def _card(card: b.Card) -> Markup:
    return Markup('<div class="card {}"><h3>{}</h3>{}</div>').format(card.tone, text(card.title), _blocks(card.blocks))


def _text(block: b.Text) -> Markup:
    return _tag("p", block.text, "soft" if block.quiet else "")


def _bullets(block: b.Bullets) -> Markup:
    return Markup("<ul>{}</ul>").format(_join(_tag("li", item) for item in block.items))


def _facts(block: b.Facts) -> Markup:
    pairs = _join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(text(k), text(v)) for k, v in block.pairs)
    return Markup('<dl class="facts">{}</dl>').format(pairs)


def _command(block: b.Command) -> Markup:
    return Markup("<p>{} <code>{}</code></p>").format(text(block.says), text(block.command))


def _query(block: b.Query) -> Markup:
    return Markup('<p>{} <code class="sql">{}</code></p>').format(text(block.says), text(block.sql))


def _tag(name: str, content: object, kind: str = "") -> Markup:
    attribute = Markup(' class="{}"').format(kind) if kind else Markup("")
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), attribute, text(content))  # noqa: S704  every part is escaped or a number


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


_BLOCKS: dict[type, Callable[[Any], Markup]] = {
    b.Text: _text,
    b.Heading: lambda block: _tag("h3", block.text),
    b.Bullets: _bullets,
    b.Facts: _facts,
    b.Command: _command,
    b.Query: _query,
    b.Table: _table,
    b.Results: _results,
    b.Chart: _chart,
    b.Waterfall: _waterfall,
    b.Fold: _fold,
    b.Card: _card,
}
