"""The one next step under every decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.effect_words import has_answer
from exp_platform.memo.progress import Progress, can_see, wait
from exp_platform.memo.published import Source
from exp_platform.status import Decision, GuardrailStatus, Trust

Row = Mapping[str, Any]
BLOCKED = "Mend the data that the rule names and clear the task: the next run that gets through takes this notice away."


def next_step(source: Source, progress: Mapping[str, Progress]) -> str:
    """The step that follows from the decision on all arms, as a sentence or two."""
    decision = source.facts["answer"]["decision"]
    steps = {
        Decision.INVALID.value: _invalid,
        Decision.STOP.value: _stop,
        Decision.SHIP.value: _ship,
        Decision.DO_NOT_SHIP.value: _do_not_ship,
        Decision.KEEP_RUNNING.value: _keep_running,
        Decision.INSUFFICIENT_DATA.value: _insufficient,
        Decision.INCONCLUSIVE.value: _inconclusive,
    }
    return steps[decision](source, progress)


def _invalid(source: Source, _: Mapping[str, Progress]) -> str:
    reasons = _words(source)
    if "pretrends_failed" in reasons:
        return "Choose a comparison group that moved in parallel before: this one can't answer the question."
    if "pretrends_not_tested" in reasons:
        return "Collect values of more days before the change, or admit the doubt by a policy: trends were not tested."
    if "second_opinion_failed" in reasons:
        return "Run it again with --full-refresh, then check it again with exp canary: no number here is safe to use."
    if "quality_failed" in reasons:
        return "Mend the logging of exposures; days that can't be mended can't be analysed in this mode."
    return "Find the cause in assignment or logging, mend it, and start again under a new id: lost users do not return."


def _stop(source: Source, _: Mapping[str, Progress]) -> str:
    broken = sorted({g["title"] for g in source.facts["guardrails"] if g["status"] == GuardrailStatus.FAIL.value})
    arms = " and ".join(arm.id for arm in source.plan.experiment.treatments)
    return f"Turn {arms} off: {_list(broken)} {'are' if len(broken) > 1 else 'is'} harmed by more than was allowed."


def _ship(source: Source, _: Mapping[str, Progress]) -> str:
    shipping = _arms(source, Decision.SHIP)
    best = [r.partition(":")[2] for r in source.facts["answer"]["reasons"] if r.startswith("best:")]
    if len(shipping) > 1:
        chosen = f"{best[0]} is the best of them" if best else "they are not told apart, so choose by other reasons"
        return f"Roll one of {_list(shipping)} out to everybody: {chosen}. {_reached(source)}".strip()
    return f"Roll {shipping[0]} out to everybody. {_reached(source)}".strip()


def _do_not_ship(source: Source, _: Mapping[str, Progress]) -> str:
    if "flat" in _words(source):
        return "Keep control: a difference that matters is ruled out."
    return "Keep control and turn the change off."


def _keep_running(source: Source, progress: Mapping[str, Progress]) -> str:
    held = _held_back(source)
    end = names.day(source.plan.planned_end.date().isoformat())
    if held:
        return f"Wait: {held}. The planned end is {end}."
    way = _least(progress)
    if way is None:
        return f"Wait for the planned end, {end}."
    days = wait(way)
    return f"{_seen(source, way)}. {_capital(days)}{'. ' if days else ''}The planned end is {end}."


def _insufficient(source: Source, progress: Mapping[str, Progress]) -> str:
    row = _primary(source)
    why = words.sentences(row["reason"]) if row else ""
    if source.plan.planned_end_reached:
        return f"The experiment has ended without an answer. {why}".strip()
    return f"Wait for more users. {why}".strip()


def _inconclusive(source: Source, progress: Mapping[str, Progress]) -> str:
    reasons = _words(source)
    if "primary_changed" in reasons:
        return "Plan a new experiment with this primary metric: only that can confirm the result."
    if "no_primary" in reasons:
        return "Name a primary metric before the next experiment: without one a person decides by the table below."
    held = _held_back(source)
    if held:
        return f"A person decides: {held}."
    way = _least(progress)
    if way is not None and way.factor is not None and way.factor > 1:
        return f"{_seen(source, way)}. Decide by other reasons, or plan a larger experiment."
    if way is not None and way.asks_for is None:
        return f"{_seen(source, way)}: write a practical_threshold into its contract."
    return "A person decides: the reasons stand below."


def _held_back(source: Source) -> str:
    """Why an arm that is better does not ship."""
    reasons = _words(source)
    undecided = sorted(
        {g["title"] for g in source.facts["guardrails"] if g["status"] == GuardrailStatus.INCONCLUSIVE.value}
    )
    if "guardrail_inconclusive" in reasons and undecided:
        return f"{_list(undecided)} {'are' if len(undecided) > 1 else 'is'} not shown to be safe yet"
    if "below_practical_threshold" in reasons:
        return "the interval is not wholly beyond the size that matters"
    if "caution_holds_back" in reasons:
        return "the policy does not ship with open doubts"
    if "before_min_days" in reasons:
        return "the policy asks for more days before anything ships"
    return ""


def _seen(source: Source, way: Progress) -> str:
    row = next(r for r in _primaries(source) if r["arm"] == way.arm)
    return can_see(row, way)


def _least(progress: Mapping[str, Progress]) -> Progress | None:
    """The arm that is nearest to its decision."""
    return min(progress.values(), key=lambda p: (p.factor is None, p.factor or 0.0), default=None)


def _primaries(source: Source) -> list[Row]:
    return [arm["primary"] for arm in source.facts["answer"]["arms"] if arm["primary"] is not None]


def _primary(source: Source) -> Row | None:
    return next((row for row in _primaries(source) if not has_answer(row)), None)


def _arms(source: Source, decision: Decision) -> list[str]:
    return [arm["arm"] for arm in source.facts["answer"]["arms"] if arm["decision"] == decision.value]


def _words(source: Source) -> set[str]:
    arms = source.facts["answer"]["arms"]
    every = (source.facts["answer"]["reasons"], *(arm["reasons"] for arm in arms))
    return {reason.partition(":")[0] for reasons in every for reason in reasons}


def _reached(source: Source) -> str:
    """Assigned users against the planned ones, like with like."""
    planned = source.facts["checks"]["planned_users"]
    if planned is None or source.facts["answer"]["trust"] == Trust.NOT_TRUSTED.value:
        return ""
    of_them = f"{planned['observed']:,.0f} of {planned['expected']:,.0f} planned users were assigned"
    if source.plan.planned_end_reached:
        return f"The experiment has reached its planned end: {of_them}."
    return f"This may be done before the planned end: {of_them}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "a guardrail"
