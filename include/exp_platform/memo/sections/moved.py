"""The section on what moved the numbers since the last run of an earlier day."""

from __future__ import annotations

from typing import Any

from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Bullets, Command, Fold, Section, Step, Table, Text, Waterfall
from exp_platform.memo.figures import MINUS, Unit, fixed
from exp_platform.memo.published import Source
from exp_platform.memo.sections.way import part, rounded
from exp_platform.results.last_run import Files, MetricSince, Since, SinceLastRun
from exp_platform.results.moved import FIGURES, Figure

KNOWN_DAYS = "Earlier days, as known now"
NEW_DAYS = "New days"
FILES_NAMED = 3
HEADS: dict[Figure, str] = {
    "effect": "Difference",
    "low": "Lower end",
    "high": "Upper end",
    "p_value": "p",
    "users": "Users",
}
P_DECIMALS = 4


def moved(source: Source) -> Section | None:
    """Each deciding number against the last run: what changed for days that were known, and what new days added."""
    since = source.published.moved
    if since is None or not since.metrics:
        return None
    blocks: list[Any] = [Text(_lead(since, source))]
    primary = source.plan.experiment.primary_metric
    first = [one for one in since.metrics if one.metric_name == primary] or list(since.metrics[:1])
    for one in first:
        blocks += _of_metric(one, since, source)
    blocks.append(Bullets(tuple(_causes(since))))
    others = [block for one in since.metrics if one not in first for block in _of_metric(one, since, source)]
    if others:
        blocks.append(Fold("The same for the guardrails", tuple(others)))
    command = f"exp compare {since.run_id} {source.facts['run']['run_id']}"
    says = "The first part split into code, settings, definition, late and re-stated events, by computing each again:"
    blocks.append(Command(says, command))
    return Section("moved", f"What moved it since {names.day(since.dt.isoformat())}", tuple(blocks))


def _lead(since: SinceLastRun, source: Source) -> str:
    """The words that turned, or that none did."""
    summary = source.facts["answer"]
    before, now = since.decisions.get("all", "none"), summary["decision"]
    labels = [words.labels(words.DECISIONS, word) for word in (before, now)]
    turned = (
        f"The decision was “{labels[0]}” and is “{labels[1]}”."
        if before != now
        else f"The decision stays “{labels[1]}”."
    )
    trust = [words.labels(words.TRUSTS, word).lower() for word in (since.trust, summary["trust"])]
    turned += "" if trust[0] == trust[1] else f" Trust was “{trust[0]}” and is “{trust[1]}”."
    if since.interval != source.plan.interval_in_force:
        turned += " Another interval is in force than on that day, since the planned end has been reached."
    return turned


def _of_metric(one: MetricSince, since: SinceLastRun, source: Source) -> list[Any]:
    metric = source.plan.metric(one.metric_name)
    unit = Unit(metric.format_in_force, metric.unit or "", metric.decision_scale == "relative")
    name = metric.title_in_force + (f", {one.variant_id}" if source.several_arms else "")
    effect = one.figures["effect"]
    digits = _decimals(one, unit)
    blocks: list[Any] = []
    if None not in (effect.before, effect.between, effect.now):
        blocks.append(_picture(name, effect, since, unit, digits))
    blocks.append(_table(one, since, unit, digits))
    if one.no_split:
        why = words.sentence(one.no_split)
        blocks.append(Text(f"The change of {name} is not split here: {why} The command below splits it.", quiet=True))
    blocks += [Text(words.sentence(word), quiet=True) for word in one.differs if word in ("quantile_cap",)]
    return blocks


def _decimals(one: MetricSince, unit: Unit) -> int:
    low, high = one.figures["low"].now, one.figures["high"].now
    return 2 if low is None or high is None else unit.decimals(high - low) + 1


def _picture(name: str, effect: Since, since: SinceLastRun, unit: Unit, digits: int) -> Waterfall:
    values = [value for value in (effect.before, effect.between, effect.now) if value is not None]
    levels = rounded(values, unit, digits)
    steps = (
        Step(f"On {names.day(since.dt.isoformat())}", 0.0, values[0], unit.change(levels[0], digits), is_level=True),
        Step(KNOWN_DAYS, values[0], values[1], unit.change(part(levels[0], levels[1]), digits)),
        Step(NEW_DAYS, values[1], values[2], unit.change(part(levels[1], levels[2]), digits)),
        Step("Now", 0.0, values[2], unit.change(levels[2], digits), is_level=True),
    )
    said = "; ".join(f"{step.label} {step.figure}" for step in steps)
    caption = "" if unit.in_percent and unit.relative else unit.caption
    return Waterfall(f"{name}: the difference then and now", steps, unit, f"{name}: {said}", caption)


def _table(one: MetricSince, since: SinceLastRun, unit: Unit, digits: int) -> Table:
    """The numbers as published then, the parts, and the numbers now; parts are differences of rounded numbers."""
    columns = [_column(one.figures[figure], figure, unit, digits) for figure in FIGURES]
    labels = (f"Published for {names.day(since.dt.isoformat())}", KNOWN_DAYS, NEW_DAYS, "Now")
    return Table(
        heads=(f"In {unit.caption}" if unit.caption else "", *(HEADS[figure] for figure in FIGURES)),
        rows=tuple((label, *(column[i] for column in columns)) for i, label in enumerate(labels)),
        numeric=tuple(range(1, len(FIGURES) + 1)),
    )


def _column(number: Since, figure: Figure, unit: Unit, digits: int) -> tuple[str, str, str, str]:
    plain = Unit() if figure in ("p_value", "users") else unit
    decimals = {"p_value": P_DECIMALS, "users": 0}.get(figure, digits)
    values = (number.before, number.between, number.now)
    levels = [None if value is None else rounded([value], plain, decimals)[0] for value in values]

    def level(value: float | None) -> str:
        if value is None:
            return "–"
        return fixed(value, decimals) if figure in ("p_value", "users") else _signed(value, unit, decimals)

    def change(before: float | None, after: float | None) -> str:
        if before is None or after is None:
            return "–"
        by = part(before, after)
        if figure not in ("p_value", "users"):
            return _signed(by, unit, decimals)
        text = fixed(abs(by), decimals)
        return "0" if not text.strip("0.,") else (MINUS if by < 0 else "+") + text

    return level(levels[0]), change(levels[0], levels[1]), change(levels[1], levels[2]), level(levels[2])


def _signed(value: float, unit: Unit, decimals: int) -> str:
    """A change with its sign, whose unit stands in the head of the column."""
    text = unit.bare(value, decimals)
    return text if value < 0 or not text.strip("0.,%") else f"+{text}"


def _causes(since: SinceLastRun) -> list[str]:
    """The causes behind the first part: what differs by name, and what does not."""
    day = names.day(since.dt.isoformat())
    found = [*_events(since, day), *_files(since.files)]
    for label, changes in (("Definition", since.definitions), ("Settings", since.settings)):
        if changes is None:
            found.append(f"{label}: not known, no run has kept the configuration of {day}.")
        else:
            found.append(f"{label}: {'; '.join(changes) if changes else 'as on that day'}.")
    then, now = since.code
    found.append("Code: as on that day." if then == now else f"Code: {then} then, {now} now.")
    return found


def _events(since: SinceLastRun, day: str) -> list[str]:
    """Sentences on the events of known days that have come or gone since."""
    if since.events is None:
        return [f"Late and re-stated events: not known, the events that the run of {day} saw have expired."]
    changed = {name: count for name, count in since.events.items() if count}
    if not changed and not since.files:
        return [f"Late and re-stated events: none; every day up to {day} has the events that it had."]
    counts = ", ".join(
        f"{abs(count):,} {'more' if count > 0 else 'fewer'} {name}" for name, count in changed.items() if count
    )
    what = "Late and re-stated events together" if since.files or since.files is None else "Late events"
    return [f"{what}, of days up to {day}: {counts or 'as many as before'}."]


def _files(files: tuple[Files, ...] | None) -> list[str]:
    if files is None:
        return ["Files written again: not known, the list of that day has expired."]
    named = [
        f"{one.path} ({one.rows_before:,} rows then, {'gone now' if one.rows_now is None else f'{one.rows_now:,} now'})"
        for one in files[:FILES_NAMED]
    ]
    rest = len(files) - FILES_NAMED
    return [f"Files written again: {'; '.join(named)}{f' and {rest} more' if rest > 0 else ''}."] if files else []
