"""The split of a change between two runs, in lines and tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from exp_platform.memo.figures import MINUS, Unit, fixed
from exp_platform.operations.chain_of_runs import Moved
from exp_platform.results.moved import PARTS, Chain, Figure, Key, Part, difference, shown

PART_WORDS: dict[Part, str] = {
    "code": "code",
    "settings": "settings",
    "definition": "definition",
    "late": "late events",
    "restated": "re-stated events",
    "days": "new days",
}
COLUMNS: dict[Figure, str] = {
    "effect": "effect",
    "low": "lower end",
    "high": "upper end",
    "p_value": "p",
    "users": "users",
}
P_DECIMALS = 4
Grid = tuple[str, tuple[str, ...], list[list[str]]]  # title, heads, rows


def lines_of(found: Moved) -> Iterator[str]:
    """The two runs, what differs between their inputs, and every word that has turned."""
    first, last = found.first, found.last
    yield f"{first.experiment_id}: run {first.run_id} (as of {first.dt}) → run {last.run_id} (as of {last.dt})"
    yield from (f"note: {note}" for note in found.notes)
    for one in found.parts:
        yield f"  {PART_WORDS[one.part]}: {'; '.join(one.says) if one.differs else 'nothing differs'}"
    turns = list(found.chain.turns())
    if not turns:
        yield f"decision: {found.chain.last.decisions['all']} in both; trust: {found.chain.last.trust} in both"
    yield from (f"{about}: {before} → {after} (by {PART_WORDS[part]})" for part, about, before, after in turns)


def table_of(found: Moved) -> Iterator[Grid]:
    """One table for each deciding metric and arm: its numbers, what each part moved them by, its numbers now."""
    experiment = found.project.experiment(found.first.experiment_id)
    deciding = {*({experiment.primary_metric} - {None}), *(guardrail.metric for guardrail in experiment.guardrails)}
    metrics = {metric.name: metric for metric in found.project.metrics_of(experiment)}
    for key in found.chain.subjects:
        name, arm = key
        if name in metrics and (name in deciding or not deciding):
            metric = metrics[name]
            unit = Unit(metric.format_in_force, metric.unit or "", metric.decision_scale == "relative")
            title = f"{metric.title_in_force}, {arm} ({unit.caption or 'change'})"
            yield title, ("", *COLUMNS.values()), _rows(found, key, unit)


def _rows(found: Moved, key: Key, unit: Unit) -> list[list[str]]:
    chain = found.chain
    columns = [_column(chain, key, figure, unit) for figure in COLUMNS]
    names = [f"{found.first.dt}", *(PART_WORDS[part] for part in PARTS), f"{found.last.dt}"]
    return [[name, *(column[i] for column in columns)] for i, name in enumerate(names)]


def _column(chain: Chain, key: Key, figure: Figure, unit: Unit) -> list[str]:
    """A number at the start, its parts, and at the end; parts are differences of rounded levels: they add up."""
    factor = 100.0 if unit.in_percent and figure in ("effect", "low", "high") else 1.0
    decimals = _decimals(chain, key, figure, unit)
    levels = chain.levels(key, figure)
    rounded = shown([None if level is None else level * factor for level in levels], decimals)
    sums: dict[Part, float | None] = dict.fromkeys(PARTS, 0.0)
    for (part, _), (before, after) in zip(chain.then, pairwise(rounded), strict=True):
        step, so_far = difference(before, after), sums[part]
        sums[part] = None if step is None or so_far is None else so_far + float(step)
    ends = [_signed(level, decimals, plus=figure in ("effect", "low", "high")) for level in (rounded[0], rounded[-1])]
    parts = [_part(sums[part], decimals) for part in PARTS]
    return [ends[0], *parts, ends[1]]


def _decimals(chain: Chain, key: Key, figure: Figure, unit: Unit) -> int:
    if figure == "users":
        return 0
    if figure == "p_value":
        return P_DECIMALS
    low, high = chain.last.level(key, "low"), chain.last.level(key, "high")
    return 2 if low is None or high is None else unit.decimals(high - low) + 1


def _part(value: float | None, decimals: int) -> str:
    if value is None:
        return "no number before or after"
    text = fixed(abs(value), decimals)
    return "0" if not text.strip("0.,") else (MINUS if value < 0 else "+") + text


def _signed(value: float | None, decimals: int, *, plus: bool) -> str:
    if value is None:
        return "–"
    sign = MINUS if value < 0 else "+" if plus and value > 0 else ""
    return sign + fixed(abs(value), decimals)
