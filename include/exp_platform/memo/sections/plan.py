"""The section on the plan: what was sealed at the start, what was amended since, and what that does."""

from __future__ import annotations

from typing import Any

from exp_platform.memo import names
from exp_platform.memo.blocks import Bullets, Facts, Fold, Section, Table, Text
from exp_platform.memo.published import Source


def plan(source: Source) -> Section:
    """Hypothesis and design, then the seal, its amendments and the whole plan."""
    about, sealed = source.facts["experiment"], source.facts["sealed_plan"]
    blocks: list[Any] = [Text(about["hypothesis"]), Facts(_design(source))]
    if sealed:
        blocks += _sealed(sealed)
    return Section("plan", "Plan and amendments", tuple(blocks))


def _design(source: Source) -> tuple[tuple[str, str], ...]:
    about = source.facts["experiment"]
    arms = ", ".join(
        arm["id"] + ("" if arm["allocation"] is None else f" {arm['allocation']:.0%}") for arm in about["arms"]
    )
    return (
        ("Experiment", about["id"]),
        ("Title", about["name"]),
        ("Owner", about["owner"]),
        ("Runs", f"{about['start']} to {about['end']}"),
        ("Arms", arms),
        ("Design", f"{about['design']}, analysed: {about['analysis_mode']}"),
    )


def _sealed(sealed: Any) -> list[Any]:
    seal = sealed["sealed"]
    if seal:
        kept = "" if sealed["amendments"] or sealed["not_recorded"] else " Nothing was amended since."
        lead = (
            f"Sealed on {seal['sealed_at']} by the run as of {seal['dt']}, {seal['days_after_start']} days after the "
            f"start (started by {seal['started_by']}), plan {seal['plan_hash']}.{kept}"
        )
    else:
        lead = "The plan is not sealed yet: the first run that sees the start of the experiment seals it."
    blocks: list[Any] = [Text(lead)]
    if sealed["rules"]:
        blocks.append(Bullets(tuple(sealed["rules"])))
    if sealed["effect"]:
        blocks.append(Text(f"Effect of the amendments on the verdict: {sealed['effect']}."))
    if sealed["amendments"]:
        blocks.append(_amendments(sealed["amendments"]))
    if sealed["not_recorded"]:
        told = "This run is for an earlier day and has another plan than the last one recorded; it adds no amendment:"
        blocks += [Text(told), Bullets(tuple(sealed["not_recorded"]))]
    facts = tuple(
        (row["label"], row["sealed"], row["now"] if row["now"] is not None else "unchanged") for row in sealed["facts"]
    )
    heads = ("Part", "Sealed" if seal else "As configured", "Now")
    return [*blocks, Fold("The whole plan", (Table(heads, facts),))]


def _amendments(rows: list[Any]) -> Table:
    return Table(
        heads=("Amendment", "Day", "What changed", "Who and when", "Effect on the verdict, that day"),
        rows=tuple(
            (
                str(row["seal"]),
                names.day(row["dt"]),
                "; ".join(row["changes"]),
                f"{row['started_by']}, {row['sealed_at']}, run {row['run_id']}",
                row["effect"] or "not decided yet",
            )
            for row in rows
        ),
    )
