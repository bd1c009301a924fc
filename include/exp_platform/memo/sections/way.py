"""The section on the way to the number: a waterfall for each deciding metric, and every estimate on it in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.memo.blocks import Fold, Section, Step, Table, Text, Waterfall
from exp_platform.memo.figures import Unit, p_text
from exp_platform.memo.published import Source
from exp_platform.memo.way import Stop, has_no_start, stops
from exp_platform.results.moved import difference, shown

NOT_KEPT = (
    "The effect without the cap is not kept for this metric: sums without it are those of whole days, which add up "
    "only for sums, counts and their ratios, of all users at once."
)
NOT_READ = "None of these numbers may be read as an effect."
ALONE = 1  # a single estimate has no way to it


def way(source: Source) -> Section | None:
    """From the plain difference to the deciding number; the primary metric first, the guardrails in a fold."""
    plan = source.plan
    deciding = [metric for metric in plan.metrics if metric.name in plan.deciding_metrics]
    deciding.sort(key=lambda metric: metric.name != plan.experiment.primary_metric)
    first = [block for metric in deciding[:1] for block in _of_metric(source, metric)]
    others = [block for metric in deciding[1:] for block in _of_metric(source, metric)]
    if not first and not others:
        return None
    lead = [] if source.judged else [Text(NOT_READ)]
    fold = [Fold("The way to the guardrails' numbers", tuple(others))] if others else []
    return Section("way", "The way to the number", (*lead, *first, *fold))


def _of_metric(source: Source, metric: Metric) -> list[Any]:
    blocks: list[Any] = []
    for arm in source.plan.arms[1:]:
        found = stops(source, metric, arm)
        if len(found) > ALONE:
            name = metric.title_in_force + (f", {arm}" if source.several_arms else "")
            unit = Unit(metric.format_in_force, metric.unit or "", metric.decision_scale == "relative")
            blocks += [waterfall(name, found, unit), _table(name, found, unit)]
            blocks += [Text(NOT_KEPT, quiet=True)] if has_no_start(source, metric, arm) else []
    return blocks


def waterfall(name: str, found: Sequence[Stop], unit: Unit) -> Waterfall:
    """Levels at the start, at the number that decides and at the end; between them what each step adds."""
    digits = decimals_of(found, unit)
    levels = rounded([stop.effect for stop in found], unit, digits)
    steps = [
        _level(found[0].label + (": decides" if found[0].decides else ""), found[0].effect, levels[0], unit, digits)
    ]
    for i in range(1, len(found)):
        before, stop = found[i - 1], found[i]
        moved = part(levels[i - 1], levels[i])
        steps.append(Step(stop.label, before.effect, stop.effect, unit.change(moved, digits)))
        if stop.decides:
            steps.append(_level("The number that decides", stop.effect, levels[i], unit, digits))
        elif i == len(found) - 1:
            steps.append(_level("For comparison", stop.effect, levels[i], unit, digits))
    said = "; ".join(f"{step.label} {step.figure}" for step in steps)
    caption = "" if unit.in_percent and unit.relative else unit.caption
    return Waterfall(f"{name}: from plain to deciding", tuple(steps), unit, f"{name}: {said}", caption)


def decimals_of(found: Sequence[Stop], unit: Unit) -> int:
    """One decimal more than the narrowest interval on the way shows, so that small steps can be read."""
    widths = [stop.high - stop.low for stop in found if stop.low is not None and stop.high is not None]
    return unit.decimals(min(widths)) + 1 if widths else 2


def rounded(levels: Sequence[float], unit: Unit, digits: int) -> list[float]:
    """Levels rounded as they are shown: the steps shown are the differences of these, so that they add up."""
    factor = 100 if unit.in_percent else 1
    return [value / factor for value in shown([level * factor for level in levels], digits) if value is not None]


def part(before: float, after: float) -> float:
    """The step between two levels."""
    return float(difference(before, after) or 0)


def _level(label: str, value: float, said: float, unit: Unit, digits: int) -> Step:
    return Step(label, 0.0, value, unit.change(said, digits), is_level=True)


def _table(name: str, found: Sequence[Stop], unit: Unit) -> Table:
    digits = decimals_of(found, unit)
    return Table(
        heads=("Estimate", "Users", "Difference", "Interval in force", "p"),
        rows=tuple(
            (
                stop.label + (" (decides)" if stop.decides else ""),
                f"{stop.users:,}",
                unit.change(stop.effect, digits),
                "not kept" if stop.low is None or stop.high is None else unit.span(stop.low, stop.high, digits),
                p_text(stop.p_value),
            )
            for stop in found
        ),
        numeric=(1, 4),
        title=f"The way to {name}",
    )
