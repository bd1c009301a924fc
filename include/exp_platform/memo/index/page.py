"""The index as one HTML file: readable without a script, and searched, filtered and sorted by a short one inside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date
from importlib import resources
from urllib.parse import quote

from markupsafe import Markup, escape

from exp_platform.memo import names
from exp_platform.memo.index import draw
from exp_platform.memo.index.entry import Entry
from exp_platform.memo.index.headline import blocked_days, counts_line, learning_line
from exp_platform.memo.index.outcome import NAMES, ORDER, Outcome
from exp_platform.memo.text import clean

_PAGE = Markup(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<title>Experiments</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
    '<header class="top"><h1>Experiments</h1><p class="counts">{counts}</p><p class="soft">{learning}.</p></header>\n'
    "{controls}\n{rows}\n"
    '<p class="soft end">Written on {today}. The days since data are counted anew when the page is opened.{more}</p>\n'
    "</main>\n<script>{script}</script>\n</body>\n</html>\n"
)
_NOTHING = Markup('<span class="soft none">–</span>')
_HEADS = ("Experiment", "Decision", "Primary effect", "By day", "Progress", "Data", "What to know")
_SORTS = (
    ("rank", "what needs somebody"),
    ("title", "title"),
    ("owner", "owner"),
    ("outcome", "decision"),
    ("effect", "relative effect, best first"),
    ("progress", "progress, furthest first"),
    ("dt", "data, newest first"),
)


def page(entries: Sequence[Entry], today: date, *, memos: str = "", more: Markup | None = None) -> str:
    """The page; `memos` stands before the name of each memo's file, `more` is a link at the end."""
    ordered = in_order(entries, today)
    rows = Markup("\n").join(_row(entry, today, memos) for entry in ordered)
    heads = Markup("").join(Markup('<th role="columnheader" scope="col">{}</th>').format(head) for head in _HEADS)
    table = Markup(
        '<table role="table" class="list" aria-label="All experiments"><thead role="rowgroup"><tr role="row">{}</tr>'
        '</thead>\n<tbody role="rowgroup">\n{}\n</tbody></table>'
    ).format(heads, rows)
    nothing = Markup("<p>No memo yet: run an experiment, for example with <code>make demo</code>.</p>")
    return str(
        _PAGE.format(
            style=Markup(_asset("memo.css") + _asset("index.css")),  # noqa: S704  every part is escaped or a number
            script=Markup(_asset("index.js")),  # noqa: S704  every part is escaped or a number
            counts=_text(counts_line(entries)),
            learning=_text(learning_line(entries, today)),
            controls=_controls(ordered) if entries else "",
            rows=table if entries else nothing,
            today=names.day(today.isoformat()),
            more=Markup(" {}").format(more) if more else "",
        )
    )


def in_order(entries: Sequence[Entry], today: date) -> list[Entry]:
    """The experiments as the page lists them: what needs somebody first."""
    return sorted(entries, key=lambda entry: _order(entry, today))


@functools.cache
def _asset(name: str) -> str:
    return resources.files("exp_platform.memo").joinpath("templates", name).read_text(encoding="utf-8")


def _order(entry: Entry, today: date) -> tuple[bool, bool, int, int, str]:
    """The order of the page: first what is blocked, refused or invalid, then what is stale, then by decision."""
    rank = ORDER[Outcome(entry.outcome)]
    newest = -date.fromisoformat(entry.dt).toordinal() if entry.dt else 0
    return (rank >= ORDER[Outcome.SHIP], not entry.is_stale(today), rank, newest, entry.experiment_id)


def _controls(entries: Sequence[Entry]) -> Markup:
    """The fields for search, filters and order, which only the script shows."""
    owners = sorted({clean(entry.owner) for entry in entries if entry.owner}, key=str.casefold)
    outcomes = [outcome for outcome in Outcome if any(entry.outcome == outcome.value for entry in entries)]
    return Markup(
        '<form class="controls" role="search" hidden><label>Search <input id="search" type="search" '
        'autocomplete="off"></label>{}{}{}<output id="shown"></output></form>'
    ).format(
        _select("owner", "Owner", [("", "everybody"), *((owner, owner) for owner in owners)]),
        _select("outcome", "Decision", [("", "all"), *((outcome.value, NAMES[outcome][0]) for outcome in outcomes)]),
        _select("sort", "Sort by", list(_SORTS)),
    )


def _select(name: str, label: str, options: Sequence[tuple[str, str]]) -> Markup:
    inner = Markup("").join(
        Markup('<option value="{}">{}</option>').format(escape(value), _text(words)) for value, words in options
    )
    return Markup('<label>{} <select id="{}">{}</select></label>').format(label, name, inner)


def _row(entry: Entry, today: date, memos: str) -> Markup:
    classes = [entry.outcome, "stale" if entry.is_stale(today) else "", "amended" if entry.amendments else ""]
    keys = {
        "title": clean(entry.title).casefold(),
        "owner": clean(entry.owner),
        "outcome": entry.outcome,
        "effect": "" if entry.effect is None or entry.effect.relative is None else f"{entry.effect.relative:.6g}",
        "progress": "" if entry.progress is None else f"{entry.progress:.4g}",
        "dt": entry.dt or "",
        "due": entry.next_due or "",
    }
    data = Markup("").join(Markup(' data-{}="{}"').format(name, value) for name, value in keys.items() if value)
    cells = (_experiment(entry, memos), _decision(entry), _effect(entry), _course(entry), _progress(entry))
    inner = Markup("").join(
        _cell(head, cell) for head, cell in zip(_HEADS, (*cells, _data(entry, today)), strict=False)
    )
    return Markup('<tr role="row" class="{}"{}>{}{}</tr>').format(
        " ".join(filter(None, classes)), data, inner, _marks(entry, today)
    )


def _cell(head: str, content: Markup) -> Markup:
    return Markup('<td role="cell" class="c-{}">{}</td>').format(head.split()[-1].lower(), content)


def _experiment(entry: Entry, memos: str) -> Markup:
    title = _text(entry.title)
    if entry.has_memo:
        title = Markup('<a href="{}{}.html">{}</a>').format(memos, quote(entry.experiment_id, safe=""), title)
    about = Markup(" · ").join(_bdi(word) for word in (entry.owner, entry.status) if word)
    number = "" if entry.title == entry.experiment_id else entry.experiment_id
    return Markup('<b dir="auto">{}</b><span class="soft">{} <code>{}</code></span>').format(
        title, about, _text(number)
    )


def _decision(entry: Entry) -> Markup:
    trust = Markup(' <span class="badge {}">{}</span>').format(entry.trust, _text(entry.trust_word))
    shown = trust if entry.trust and not entry.blocked_since else ""  # that of a blocked one is of an earlier day
    return Markup('<b class="decided">{}</b>{}').format(_text(entry.word), shown)


def _effect(entry: Entry) -> Markup:
    effect = entry.effect
    if effect is None:
        return _NOTHING
    name = f"{effect.metric}, {effect.arm}" if effect.arm else effect.metric
    valid = "" if entry.outcome != Outcome.INVALID.value else _soft("not an effect: do not use it")
    return Markup('<span class="soft metric">{}</span>{}<span class="figures">{}</span>{}').format(
        _text(name), draw.interval(effect), _text(effect.figures), valid
    )


def _course(entry: Entry) -> Markup:
    if entry.course is None or len(entry.course.days) < 2:
        return _NOTHING
    return draw.course(entry.course, entry.effect.tone if entry.effect else "unclear")


def _progress(entry: Entry) -> Markup:
    """The bar is the precision reached, which decides; the users against the plan stand beside it."""
    if entry.progress is None:
        return _NOTHING
    share = f"{entry.progress:.0%}"
    of_what = "of the plan" if entry.precision is None else "of the precision asked for"
    users = (
        f"{entry.users:,} of {entry.planned_users:,} users" if entry.users is not None and entry.planned_users else ""
    )
    return Markup(
        '<span class="bar" aria-hidden="true"><span style="width:{}"></span></span><span>{} {}</span> '
        '<span class="soft">{}</span>'
    ).format(share, share, of_what, users)


def _data(entry: Entry, today: date) -> Markup:
    if entry.dt is None:
        return _soft("no data yet")
    days = (today - date.fromisoformat(entry.dt)).days
    return Markup('<span>to {}</span> <span class="soft age">{}</span>').format(names.day(entry.dt), _ago(days))


def _ago(days: int) -> str:
    return "1 day ago" if days == 1 else f"{days:,} days ago" if days > 0 else "today"


def _marks(entry: Entry, today: date) -> Markup:
    """Lines below the row: why it stands out. That of a late memo is hidden until the script finds it late."""
    lines = []
    if entry.blocked_since:
        days = blocked_days(entry, today)
        since = f"Blocked since {names.day(entry.blocked_since)} ({days} {'day' if days == 1 else 'days'})."
        lines.append(Markup("<li><b>{}</b> {}</li>").format(since, _text(entry.because)))
    elif entry.because:
        lines.append(Markup("<li>{}</li>").format(_text(entry.because)))
    if entry.next_due:
        hidden = Markup("" if entry.is_stale(today) else " hidden")  # noqa: S704  every part is escaped or a number
        late = f"The memo that was due on {names.day(entry.next_due)} did not come."
        lines.append(Markup('<li class="late"{}><b>Stale.</b> {}</li>').format(hidden, late))
    if entry.amendments:
        times = "once" if entry.amendments == 1 else f"{entry.amendments} times"
        lines.append(Markup("<li>Its sealed plan was amended {}.</li>").format(times))
    known = (*entry.alerts, entry.trust_says, entry.second_opinion)
    lines += [Markup("<li>{}</li>").format(_text(line)) for line in known if line]
    if not lines:
        return Markup("")
    return Markup('<td role="cell" class="c-know"><ul>{}</ul></td>').format(Markup("").join(lines))


def _text(value: object) -> Markup:
    return escape(clean(value))


def _bdi(value: object) -> Markup:
    return Markup("<bdi>{}</bdi>").format(_text(value))


def _soft(words: str) -> Markup:
    return Markup('<span class="soft">{}</span>').format(words)
