"""The section on progress: the precision reached, the users against the plan, and the days to a decision."""

from __future__ import annotations

from exp_platform.memo import names
from exp_platform.memo.blocks import Bullets, Facts, Section, Text
from exp_platform.memo.flips import flips
from exp_platform.memo.progress import can_see, wait, ways_of
from exp_platform.memo.published import Source
from exp_platform.memo.sections.over_time import primary_effects
from exp_platform.status import Decision

# Decisions after which more data may still change the answer.
OPEN = (Decision.KEEP_RUNNING.value, Decision.INCONCLUSIVE.value, Decision.INSUFFICIENT_DATA.value)


def progress(source: Source) -> Section:
    """One sentence on precision for each arm, then the facts of the plan."""
    ways = ways_of(source)
    blocks: list[Text | Facts | Bullets] = []
    primaries = {arm["arm"]: arm["primary"] for arm in source.facts["answer"]["arms"] if arm["primary"]}
    for arm, way in ways.items():
        lead = f"{arm}: " if source.several_arms else ""
        days = wait(way) if source.facts["answer"]["decision"] in OPEN else ""
        sentence = f"{lead}{can_see(primaries[arm], way)}."
        if way.share is not None:
            sentence += f" {way.share:.0%} of the precision that this asks for is reached."
        blocks.append(Text(sentence + (f" To get there: {days}." if days else "")))
    if not ways:
        blocks.append(Text("There is no answer on a primary metric, so that no precision can be named."))
    changes = flips(source)
    if changes:
        blocks += [
            Text("What would change the decision, one input at a time, at the precision of now:"),
            Bullets(changes),
        ]
    blocks.append(Facts(_facts(source)))
    return Section("progress", "Progress", tuple(blocks))


def _facts(source: Source) -> tuple[tuple[str, str], ...]:
    plan, about = source.facts["plan"], source.facts["experiment"]
    users = source.facts["checks"]["planned_users"]
    end = plan["planned_end"] + (" (reached)" if plan["planned_end_reached"] else "")
    pairs = [
        ("Interval in force", plan["interval_label"]),
        ("Planned end", end),
        ("Days of assignment", plan["assignment_days"]),
        ("Decided by", f"{names.METHODS[plan['deciding_method']]}, alpha {about['alpha']:g}"),
        ("Policy", source.facts["answer"]["policy"]),
    ]
    if users:
        pairs.insert(0, ("Assigned users", f"{users['observed']:,.0f} of {users['expected']:,.0f} planned"))
        pairs.insert(1, ("Enrolment", users["detail"]))
    pairs += [(f"First clear at every look, {arm}", told) for arm, told in _first_clear(source)]
    return tuple(pairs)


def _first_clear(source: Source) -> list[tuple[str, str]]:
    """Arm and first day on which the interval in force excluded 0, by the series that the chart over time draws."""
    primary = source.plan.experiment.primary_metric
    if not any(row["is_judged"] for row in source.facts["metrics"] if row["metric"] == primary):
        return []
    found = []
    for series in primary_effects(source):
        answered = [point.as_of for point in series.points if point.effect is not None]
        if answered:
            cleared = series.cleared_zero
            found.append((series.variant_id, names.day(cleared.isoformat()) if cleared else "not yet"))
    return found
