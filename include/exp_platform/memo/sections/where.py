"""The sections on where the effect is: segments, and for rollouts what was expected and how the arms moved before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Chart, Fold, Heading, Line, Result, Results, Section, Table, Text
from exp_platform.memo.effect_words import common_reach, figures, has_answer, level_decimals, picture, verdict
from exp_platform.memo.figures import Unit, p_is, p_text
from exp_platform.memo.published import Source

Row = Mapping[str, Any]


def segments(source: Source) -> Section | None:
    """The primary metric by segment as a forest on one axis, with the test of heterogeneity of each dimension."""
    rows = source.facts["segments"]
    if not rows:
        return None
    title = f"Where: {source.title(source.facts['experiment']['primary_metric'])} by segment"
    blocks: list[Any] = [
        Text("For ideas, not for decisions: p is corrected over all values of the segments.", quiet=True)
    ]
    reach = common_reach(rows)
    for arm in source.plan.experiment.treatments:
        for dimension, mine in _by_dimension([row for row in rows if row["arm"] == arm.id]).items():
            where = f" in {arm.id}" if source.several_arms else ""
            blocks.append(Heading(f"{dimension.replace('_', ' ')}{where}: {_differ(mine)}"))
            blocks.append(Results(tuple(_segment(row, reach) for row in mine)))
    return Section("segments", title, tuple(blocks))


def _differ(rows: Sequence[Row]) -> str:
    p_value = next((row["heterogeneity_p_value"] for row in rows if row["heterogeneity_p_value"] is not None), None)
    if p_value is None:
        return "no test of a difference"
    said = "the values differ" if p_value < rows[0]["alpha"] else "no sign that the values differ"
    return f"{said} ({p_is(p_value)})"


def _segment(row: Row, reach: tuple[float, float] | None) -> Result:
    users = f"{(row['control_n'] or 0) + (row['treatment_n'] or 0):,} users"
    return Result(
        title=names.segment(row["segment"]).removeprefix(row["segment"].partition("=")[0].replace("_", " ")).strip(),
        about=users,
        verdict=verdict(row) if has_answer(row) else names.status(row["status"]),
        tone=row["tone"],
        figures=figures(row),
        picture=picture(row, reach=reach),
        sentence=f"corrected {p_is(row['p_value_adjusted'])}" if has_answer(row) else row["sentence"],
    )


def _by_dimension(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["segment"].partition("=")[0], []).append(row)
    return found


def before(source: Source) -> Section | None:
    """How the arms moved before, and for a rollout the counterfactual of every metric."""
    pretrends = source.facts["pretrends"]
    blocks: list[Any] = []
    if pretrends["matters"]:
        blocks.append(
            Text("The arms of a rollout are not dealt by chance: only parallel movement before makes it valid.")
        )
        blocks += _expected(source)
    elif pretrends["deltas"] or pretrends["tests"]:
        blocks.append(Text("The arms were drawn at random, so parallel movement before is context, not a condition."))
    for arm in source.plan.experiment.treatments:
        days = [row for row in pretrends["deltas"] if row["variant_id"] == arm.id]
        if days:
            blocks.append(_delta_chart(days, arm.id, source))
    if pretrends["tests"]:
        blocks.append(Fold("Tests of every metric", (_tests(source),), is_open=pretrends["matters"]))
    return Section("before", "Before the experiment", tuple(blocks)) if blocks else None


def _expected(source: Source) -> list[Any]:
    rows = source.facts["before_after"]
    if not rows:
        return []
    lines = []
    for row in rows:
        unit, digits = Unit.of(row, "absolute"), level_decimals(row)
        lines.append(
            (
                row["title"],
                row["arm"],
                unit.level(row["control_pre_mean"], digits),
                unit.level(row["control_mean"], digits),
                unit.level(row["treatment_pre_mean"], digits),
                unit.level(row["expected"], digits),
                unit.level(row["treatment_mean"], digits),
                unit.change(row["treatment_mean"] - row["expected"], digits),
            )
        )
    heads = ("Metric", "Arm", "Control before", "Control after", "Arm before", "Expected", "Seen", "Difference")
    told = "Expected is the arm's level before plus control's change: the level without the change."
    return [Text(told), Table(heads, tuple(lines), numeric=(2, 3, 4, 5, 6, 7))]


def _delta_chart(days: Sequence[Row], arm: str, source: Source) -> Chart:
    primary = source.plan.primary
    unit = Unit(primary.format_in_force, primary.unit or "") if primary else Unit()
    widest = max((row["ci_high"] - row["ci_low"] for row in days if row["ci_low"] is not None), default=None)
    digits = unit.decimals(widest)
    last = days[-1]
    title = source.title(source.facts["experiment"]["primary_metric"])
    return Chart(
        title=f"{title}: {arm} minus control on each day before assignment",
        days=tuple(str(row["relative_day"]) for row in days),
        lines=(
            Line(
                label=f"{arm} minus control",
                values=tuple(row["delta"] for row in days),
                low=tuple(row["ci_low"] for row in days),
                high=tuple(row["ci_high"] for row in days),
            ),
        ),
        unit=unit,
        caption=unit.caption,
        alt=f"{len(days)} days before assignment; on the last one the difference was "
        + (unit.change(last["delta"], digits) if last["delta"] is not None else "not known"),
    )


def _tests(source: Source) -> Table:
    kinds = {"slope": "no slope", "joint": "all days alike"}
    rows = tuple(
        (
            source.title(row["metric_name"]),
            row["variant_id"],
            kinds.get(row["test"], row["test"]),
            names.status(row["verdict"]),
            p_text(row["p_value_adjusted"]),
        )
        for row in source.facts["pretrends"]["tests"]
    )
    return Table(("Metric", "Arm", "Test", "Verdict", "p corrected"), rows, numeric=(4,))
