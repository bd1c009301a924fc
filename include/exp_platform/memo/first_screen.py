"""The first screen: the decision, the effect that decides, trust, guardrails and the one next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.memo import names, trust_words
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Arm, FirstScreen
from exp_platform.memo.effect_words import common_reach, picture, sentence
from exp_platform.memo.harm import harm_picture, harm_sentence
from exp_platform.memo.next_step import BLOCKED, next_step
from exp_platform.memo.progress import Progress
from exp_platform.memo.published import Source
from exp_platform.status import Decision, GuardrailStatus, Trust

Row = Mapping[str, Any]
ARMS_SHOWN = 3  # more do not fit above the fold of a phone
TONES = {
    Decision.SHIP.value: "good",
    Decision.STOP.value: "bad",
    Decision.DO_NOT_SHIP.value: "bad",
    Decision.INVALID.value: "plain",
}
SHORT = {Decision.INCONCLUSIVE.value: "Undecided"} | {
    d.value: words.DECISIONS[d] for d in Decision if d is not Decision.INCONCLUSIVE
}


def first_screen(source: Source, progress: Mapping[str, Progress]) -> FirstScreen:
    """The first screen of a run that was decided."""
    answer, about = source.facts["answer"], source.facts["experiment"]
    trusted = answer["trust"] != Trust.NOT_TRUSTED.value
    return FirstScreen(
        title=about["name"],
        experiment_id=about["id"],
        owner=about["owner"],
        as_of=f"data to {names.day(source.facts['dt'])}",
        next_due=due(about["next_due"]),
        word=_word(answer),
        tone=TONES.get(answer["decision"], "open") if trusted else "plain",
        because=_because(source),
        arms=_arms(source),
        trust_word=answer["trust_label"],
        trust_tone=answer["trust"],
        trust=trust_words.summary(source),
        guardrails=guardrail_line(source),
        next_step=next_step(source, progress),
    )


def blocked_screen(
    last: FirstScreen | None, about: Mapping[str, Any], blocked: Mapping[str, Any], dt: str | None = None
) -> FirstScreen:
    """The first screen of a blocked run: the rule that was broken, and which numbers are still the last ones.

    `dt` is the day of the last memo, whose first screen is not known where an earlier version wrote it.
    """
    if last is not None:
        as_of = last.as_of
        earlier = f"The numbers below are those of the {as_of}: {last.word}, {last.trust_word.lower()}."
    elif dt is not None:
        as_of = f"data to {names.day(dt)}"
        earlier = f"The last numbers are in the memo of {names.day(dt)}."
    else:
        as_of, earlier = "no data yet", "There are no earlier numbers."
    return FirstScreen(
        title=about["name"],
        experiment_id=about["id"],
        owner=about["owner"],
        as_of=as_of,
        next_due="next: with the run that gets through",
        word=f"Blocked since {names.day(blocked['since'])}",
        tone="plain",
        because=blocked["sentence"],
        arms=(),
        trust_word="Nothing new was published",
        trust_tone="caution",
        trust=f"Stage {blocked['stage']}, run {blocked['run_id']}. {earlier}",
        guardrails="not judged for this day",
        next_step=BLOCKED,
    )


def due(day: str | None) -> str:
    """The day on which the next memo is due, in words."""
    return f"next due {names.day(day)}, 00:00 UTC" if day else "no further memo is due"


def guardrail_line(source: Source) -> str:
    """Every guardrail with its verdict, in a line."""
    rows = source.facts["guardrails"]
    if not rows:
        return "none is named"
    if not any(row["is_judged"] for row in rows):
        return "not judged: the numbers are not valid"
    said = {GuardrailStatus.PASS.value: "✓", GuardrailStatus.FAIL.value: "✗", GuardrailStatus.INCONCLUSIVE.value: "?"}
    word = {"✓": "held", "✗": "broken", "?": "not shown yet"}
    first = [GuardrailStatus.FAIL.value, GuardrailStatus.INCONCLUSIVE.value, GuardrailStatus.PASS.value]
    parts = []
    for row in sorted((r for r in rows if r["is_judged"]), key=lambda r: first.index(r["status"])):
        where = f" in {row['arm']}" if source.several_arms else ""
        parts.append(f"{said[row['status']]} {row['title']}{where} {word[said[row['status']]]}")
    shown = parts[:4]
    return "; ".join(shown) + (f"; {len(parts) - 4} more below" if len(parts) > 4 else "")


def _word(answer: Row) -> str:
    decision = answer["decision"]
    if decision == Decision.SHIP.value:
        arms = [arm["arm"] for arm in answer["arms"] if arm["decision"] == decision]
        return f"Ship {' or '.join(arms)}"
    return SHORT[decision]


def _because(source: Source) -> str:
    """The sentence that says why the result is invalid; empty where the arms' own sentences say it."""
    answer = source.facts["answer"]
    story = trust_words.broken(source)
    if story:
        return f"{story}."
    if answer["decision"] in (Decision.SHIP.value, Decision.KEEP_RUNNING.value):
        return ""
    if answer["decision"] == Decision.INVALID.value:
        return " ".join(answer["sentences"][:1])
    return ""


def _arms(source: Source) -> tuple[Arm, ...]:
    """The arms with their sentences and pictures on a common axis; those that ship first."""
    rows = source.facts["answer"]["arms"]
    order = [Decision.SHIP.value, Decision.KEEP_RUNNING.value, Decision.INCONCLUSIVE.value]
    ranked = sorted(rows, key=lambda r: order.index(r["decision"]) if r["decision"] in order else len(order))
    shown = [row for row in ranked if row["primary"] is not None or _broken(row, source)][:ARMS_SHOWN]
    by_primary = [row["primary"] for row in shown if not _broken(row, source)]
    reach = common_reach(by_primary) if len(by_primary) > 1 else None
    return tuple(_arm(row, source, reach) for row in shown)


def _arm(row: Row, source: Source, reach: tuple[float, float] | None) -> Arm:
    """An arm by the effect that decides: the primary metric's, or that of the guardrail which stops it."""
    decision = SHORT[row["decision"]] if source.several_arms else ""
    broken = _broken(row, source)
    if broken is not None:
        return Arm(row["arm"], decision, harm_sentence(broken), harm_picture(broken))
    return Arm(row["arm"], decision, sentence(row["primary"]), picture(row["primary"], reach=reach))


def _broken(row: Row, source: Source) -> Row | None:
    """The guardrail that stops an arm, the one farthest beyond its margin; None where the arm is not stopped."""
    if row["decision"] != Decision.STOP.value:
        return None
    failed = [g for g in source.facts["guardrails"] if g["arm"] == row["arm"] and g["status"] == GuardrailStatus.FAIL]
    return max(failed, key=lambda g: g["harm"] / g["margin"] if g["margin"] else g["harm"], default=None)
