"""Entry of the index: one experiment, reduced from its memo's JSON to the few facts that a row shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Chart, FirstScreen, to_records
from exp_platform.memo.content import FORMAT
from exp_platform.memo.effect_words import figures, picture
from exp_platform.memo.index.outcome import Outcome, outcome_of
from exp_platform.memo.progress import factor_of, share_of
from exp_platform.status import GuardrailStatus, Trust

Row = Mapping[str, Any]
OPEN = (Outcome.RUNNING, Outcome.UNDECIDED)  # outcomes that more precision may still change


@dataclass(frozen=True)
class Effect:
    """The primary effect of the arm that the row shows, on the scale that decides."""

    metric: str
    arm: str  # empty where the experiment has one treatment arm
    figures: str
    effect: float
    low: float
    high: float
    marks: tuple[float, ...]  # the practical threshold on both sides
    relative: float | None  # effects of different units are ordered by this
    tone: str  # better, worse or unclear; always unclear where the numbers may not be used


@dataclass(frozen=True)
class Course:
    """The effect by as-of day with the interval for one look; a day without a value has None."""

    days: tuple[str, ...]
    effect: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Entry:
    """One experiment in the index."""

    experiment_id: str
    title: str
    owner: str
    status: str  # in the registry
    outcome: str  # word of Outcome
    word: str  # the decision as the memo calls it out
    because: str = ""  # the reason where the decision alone does not say it
    dt: str | None = None  # as-of day of the numbers
    next_due: str | None = None  # day on which the next memo is due
    trust: str = ""  # word of Trust
    trust_word: str = ""
    trust_says: str = ""  # the weakest check, where not every check passed
    effect: Effect | None = None
    course: Course | None = None
    users: int | None = None  # assigned
    planned_users: int | None = None
    precision: float | None = None  # while undecided: share of the precision that the practical threshold asks for
    blocked_since: str | None = None
    amendments: int = 0  # of the sealed plan
    alerts: tuple[str, ...] = ()
    has_memo: bool = True
    second_opinion: str = ""  # what a second implementation found; empty while it has not looked

    def is_stale(self, today: date) -> bool:
        """True where a memo was due on a day that has passed, and did not come."""
        return self.next_due is not None and self.next_due < today.isoformat()

    @property
    def progress(self) -> float | None:
        """Share of the precision that is asked for; where nobody knows it, of the planned users; at most 1."""
        if self.precision is not None:
            return self.precision
        if self.users is None or not self.planned_users:
            return None
        return min(1.0, self.users / self.planned_users)


def entry_of(facts: Row) -> Entry:
    """The entry of a memo's JSON; a memo of an earlier format has neither picture nor course."""
    about, answer, blocked = facts["experiment"], facts["answer"], facts.get("blocked")
    outcome, first = outcome_of(facts), _decided_screen(facts)
    trust = answer["trust"] if answer else ""
    usable = trust not in ("", Trust.NOT_TRUSTED.value) and outcome is not Outcome.INVALID
    decided = first.word if first else answer["decision_label"] if answer else "No numbers yet"
    shown = _shown_arm(answer)
    is_one_of_many = answer is not None and len(answer["arms"]) > 1
    effect = _effect(shown, is_one_of_many, usable and not blocked) if shown and first else None
    users = (facts.get("checks") or {}).get("planned_users")
    return Entry(
        experiment_id=about["id"],
        title=about["name"],
        owner=about["owner"],
        status=about.get("status") or "",
        outcome=outcome.value,
        word="Blocked" if blocked else decided,
        because=_because(facts, decided) if blocked else first.because if first and not usable else "",
        dt=facts["dt"],
        next_due=about.get("next_due"),
        trust=trust,
        trust_word=answer["trust_label"] if answer else "",
        trust_says=first.trust if first and usable and trust != Trust.TRUSTED.value else "",
        effect=effect,
        course=_course(facts, shown["arm"] if shown and is_one_of_many else None),
        users=int(users["observed"]) if users else None,
        planned_users=int(users["expected"]) if users else None,
        precision=share_of(factor_of(shown["primary"])) if shown and usable and outcome in OPEN else None,
        blocked_since=blocked["since"] if blocked else None,
        amendments=len((facts.get("sealed_plan") or {}).get("amendments") or ()),
        alerts=tuple(_alerts(facts)) if usable else (),
        second_opinion=(facts.get("second_opinion") or {}).get("sentence", ""),
    )


def of_the_registry(entry: Entry, status: str) -> Entry:
    """The entry under its present status: after the end of an experiment no memo is due, and none is running."""
    if status == entry.status:
        return entry
    ended = status != "running"
    over = ended and entry.outcome == Outcome.RUNNING.value
    return replace(
        entry,
        status=status,
        next_due=None if ended else entry.next_due,
        outcome=Outcome.UNDECIDED.value if over else entry.outcome,
    )


def without_memo(experiment_id: str, title: str, owner: str, status: str, refused: str = "") -> Entry:
    """The entry of an experiment of the registry that has no memo; its file may be refused."""
    outcome, word = (Outcome.REFUSED, "File refused") if refused else (Outcome.NONE, "No memo yet")
    return Entry(experiment_id, title, owner, status, outcome.value, word, because=refused, has_memo=False)


def unreadable(experiment_id: str, why: str) -> Entry:
    """The entry of a memo whose JSON is not what a memo holds."""
    because = f"{experiment_id}.json is no memo: {why}; run the experiment again"
    return Entry(experiment_id, experiment_id, "", "", Outcome.UNREADABLE.value, "Memo cannot be read", because)


def to_json(entry: Entry) -> dict[str, Any]:
    """The entry as plain data."""
    return asdict(entry)


def from_json(plain: Mapping[str, Any]) -> Entry:
    """The entry from plain data."""
    content = _tuples(plain)
    if plain["effect"]:
        content["effect"] = Effect(**_tuples(plain["effect"]))
    if plain["course"]:
        content["course"] = Course(**_tuples(plain["course"]))
    return Entry(**content)


def _tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}


def _decided_screen(facts: Row) -> FirstScreen | None:
    """The first screen of the last decision, which a blocked memo keeps under `decided`."""
    if facts.get("format") != FORMAT or not facts["answer"]:
        return None
    kept = facts.get("decided") if facts.get("blocked") else facts["memo"]["first"]
    screen: FirstScreen | None = to_records(kept) if kept else None
    return screen


def _because(facts: Row, decided: str) -> str:
    """The rule that a blocked run broke, and the decision that stood before it."""
    blocked, answer = facts["blocked"], facts["answer"]
    before = f" Before: {decided}, {answer['trust_label'].lower()}." if answer else ""
    return f"Stage {blocked['stage']}: {blocked['sentence'].rstrip('.')}.{before}"


def _shown_arm(answer: Row | None) -> Row | None:
    """The arm that the decision is about: the first that has the decision of the whole, else the first."""
    if answer is None:
        return None
    arms: Sequence[Row] = [arm for arm in answer["arms"] if arm["primary"]]
    return next((arm for arm in arms if arm["decision"] == answer["decision"]), arms[0] if arms else None)


def _effect(arm: Row, is_one_of_many: bool, usable: bool) -> Effect | None:
    """The primary's figures and picture; the first screen of a stopped arm draws the guardrail that stops it."""
    row = arm["primary"]
    drawn = picture(row)
    if drawn is None:
        return None
    return Effect(
        metric=row["title"],
        arm=arm["arm"] if is_one_of_many else "",
        figures=figures(row),
        effect=drawn.effect,
        low=drawn.low,
        high=drawn.high,
        marks=tuple(mark.at for mark in drawn.marks),
        relative=row["effect_rel"],
        tone=drawn.tone if usable and row["is_judged"] else "unclear",
    )


def _course(facts: Row, arm: str | None) -> Course | None:
    """The line of the effect in the memo's section over time; of several arms the one whose name the title holds."""
    if facts.get("format") != FORMAT:
        return None
    for section in facts["memo"]["sections"]:
        if section["key"] != "over-time":
            continue
        for block in section["blocks"]:
            chart = to_records(block) if block["kind"] == Chart.__name__ else None
            if chart is None or (arm is not None and f", {arm}:" not in chart.title):
                continue
            for line in chart.lines:
                if line.values and line.low and line.high:
                    return _trimmed(Course(chart.days, line.values, line.low, line.high))
    return None


def _trimmed(course: Course) -> Course | None:
    """The course from its first to its last value."""
    there = [i for i, value in enumerate(course.effect) if value is not None]
    if not there:
        return None
    part = slice(there[0], there[-1] + 1)
    return Course(course.days[part], course.effect[part], course.low[part], course.high[part])


def _alerts(facts: Row) -> Iterator[str]:
    """Guardrails that are broken, and days that could not be used."""
    for row in facts.get("guardrails") or ():
        if row["status"] == GuardrailStatus.FAIL.value and row.get("is_judged"):
            yield f"{row['title']} is broken ({row['arm']})"
    days = {day for one in (facts.get("unusable") or {}).get("excluded") or () for day in one["dates"]}
    if days:
        last = names.day(max(days))
        yield f"{len(days)} excluded days, the last {last}" if len(days) > 1 else f"{last} is excluded"
