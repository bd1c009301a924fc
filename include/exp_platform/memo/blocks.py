"""The memo's content as frozen records, from which HTML, Markdown and JSON are rendered: a section is written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from exp_platform.memo.figures import Unit


@dataclass(frozen=True)
class Text:
    """A paragraph; a quiet one is smaller."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Pairs of a label and its value."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Command:
    """A command to copy, and a sentence that says what it is for."""

    says: str
    command: str


@dataclass(frozen=True)
class Query:
    """A query of SQL to copy, on one line, and a sentence that says what it shows."""

    says: str
    sql: str


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; `numeric` names the columns that are aligned to the right.

    A reader that speaks calls a table by its heads; a page with several tables of the same heads gives each a `title`.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Mark:
    """A dashed line on an axis: a threshold or a margin, with its words."""

    at: float
    label: str = ""


@dataclass(frozen=True)
class Interval:
    """A picture of one effect with its interval, against zero and its marks, on an axis with ticks."""

    effect: float
    low: float
    high: float
    unit: Unit
    alt: str  # the picture as a sentence
    tone: str = "unclear"  # better, worse or unclear: the colour of a verdict
    marks: tuple[Mark, ...] = ()
    reach: tuple[float, float] | None = None  # an axis shared with other pictures; None: as wide as this one needs
    sides: tuple[str, str] = ("", "")  # words for both directions; none where the numbers may not be read as an effect


@dataclass(frozen=True)
class Line:
    """One line of a chart with an optional band; null where a day has no value."""

    label: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    style: int = 0  # colour and dash, by position in the palette


@dataclass(frozen=True)
class Chart:
    """A picture of lines by day, with a caption that stands in Markdown too."""

    title: str
    days: tuple[str, ...]  # ISO dates, or days relative to the assignment
    lines: tuple[Line, ...]
    unit: Unit
    alt: str
    marks: tuple[Mark, ...] = ()  # horizontal lines
    flags: tuple[tuple[str, str], ...] = ()  # (day, words): days to be pointed out
    caption: str = ""  # the unit of the axis, where the ticks do not say it


@dataclass(frozen=True)
class Step:
    """One step of a waterfall: a level, or a change from the level before to the next one."""

    label: str
    start: float  # of a level 0
    end: float
    figure: str  # the step in figures, with its unit
    is_level: bool = False


@dataclass(frozen=True)
class Waterfall:
    """A picture of how a number comes about, step by step, on one axis with zero; the changes add up."""

    title: str
    steps: tuple[Step, ...]
    unit: Unit
    alt: str
    caption: str = ""  # the unit of the axis, where the ticks do not say it


@dataclass(frozen=True)
class Result:
    """A row with a verdict: figures and picture on one scale; `more` opens below it."""

    title: str
    about: str  # arm, role, direction
    verdict: str
    tone: str
    figures: str
    picture: Interval | None = None
    sentence: str = ""
    marks: tuple[str, ...] = ()  # checks that spoke up about this row
    more: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Results:
    """Results below each other."""

    rows: tuple[Result, ...]


@dataclass(frozen=True)
class Fold:
    """Blocks that open by a click, and are open in print."""

    title: str
    blocks: tuple[Any, ...]
    is_open: bool = False


@dataclass(frozen=True)
class Card:
    """A warning: a title, what is known, and the step that follows."""

    tone: str  # fail or warn
    title: str
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; `key` is its anchor and its name in JSON."""

    key: str
    title: str
    blocks: tuple[Any, ...]


@dataclass(frozen=True)
class Arm:
    """One treatment arm on the first screen."""

    name: str
    decision: str
    sentence: str
    picture: Interval | None


@dataclass(frozen=True)
class FirstScreen:
    """All that stands above the fold."""

    title: str
    experiment_id: str
    owner: str
    as_of: str
    next_due: str
    word: str  # the decision, as it is called out
    tone: str  # good, bad, open or plain
    because: str  # what broke, or why the decision is what it is; empty where the arms' sentences say so
    arms: tuple[Arm, ...]
    trust_word: str
    trust_tone: str  # trusted, caution, not_trusted
    trust: str
    guardrails: str
    next_step: str


@dataclass(frozen=True)
class Memo:
    """A whole memo."""

    head: str  # of the browser's tab
    first: FirstScreen
    sections: tuple[Section, ...]


_RECORDS = {
    record.__name__: record
    for record in (
        *(Text, Heading, Bullets, Facts, Command, Query, Table, Mark, Interval, Line, Chart, Result, Results),
        *(Fold, Card, Step, Waterfall),
        *(Section, Arm, FirstScreen, Memo, Unit),
    )
}


def to_plain(value: Any) -> Any:
    """Records as JSON knows them: each names its kind."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, **content}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def to_records(value: Any) -> Any:
    """Records from JSON; a key that this version does not know is left out."""
    if isinstance(value, Mapping):
        record: Any = _RECORDS[value["kind"]]
        known = {f.name for f in fields(record)}
        return record(**{key: to_records(item) for key, item in value.items() if key in known})
    if isinstance(value, list):
        return tuple(to_records(item) for item in value)
    return value
