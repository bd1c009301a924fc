"""The section on who was counted: the funnel of users by arm, and all assigned users beside the exposed ones."""

from __future__ import annotations

from typing import Any

from exp_platform.memo import words
from exp_platform.memo.blocks import Fold, Section, Table, Text
from exp_platform.memo.exposure import shown as by_exposure
from exp_platform.memo.numbers import p_text
from exp_platform.memo.source import Source


def who(source: Source) -> Section | None:
    """The funnel, where users are known by arm, and the effect on assigned and on exposed users."""
    blocks = [*_funnel(source), *_exposure(source)]
    return Section("who", "Who was counted", tuple(blocks)) if blocks else None


def _funnel(source: Source) -> list[Any]:
    """Assigned, analysed, with a closed window: users of each arm and the share of the step above."""
    units, plan = source.published.units, source.plan
    assigned: dict[str, int] = {}
    for point in units.points if units else ():
        assigned[point.variant_id] = max(assigned.get(point.variant_id, 0), point.total)
    analysed = _analysed(source)
    if not assigned or not analysed:
        return []
    rows = []
    for arm in plan.arms:
        there, used = assigned.get(arm, 0), analysed.get(arm, 0)
        rows.append((arm, f"{there:,}", f"{used:,}", words.percent(used / there if there else None)))
    mode = "exposed in time" if plan.experiment.analysis_mode == "exposed" else "validly assigned, with a value"
    mature = source.facts["plan"]["mature_share"]
    note = f"Analysed are the users who were {mode}." + (
        f" For {words.percent(mature)} of them the window of the primary metric has closed."
        if mature is not None
        else ""
    )
    heads = ("Arm", "Assigned", "Analysed", "Share of the assigned")
    return [Table(heads, tuple(rows), numeric=(1, 2, 3)), Text(note, quiet=True)]


def _analysed(source: Source) -> dict[str, int]:
    """Users of each arm with a value of the primary metric."""
    found: dict[str, int] = {}
    for arm in source.facts["answer"]["arms"]:
        row = arm["primary"]
        if row is not None and row["control_n"] is not None and row["treatment_n"] is not None:
            found[source.plan.experiment.control.id] = row["control_n"]
            found[arm["arm"]] = row["treatment_n"]
    return found


def _exposure(source: Source) -> list[Any]:
    rows = source.facts["exposure"]
    if not rows:
        return []
    first = rows[0]
    lead = f"All assigned users and the exposed ones. {first['title']}, {first['arm']}: {first['sentence']}"
    table = Table(
        heads=("Metric", "Arm", "Exposed", "All assigned", "The exposed", "Diluted to all", "Each reached", "Agree, p"),
        rows=tuple(
            (
                row["title"],
                row["arm"],
                words.percent(row["exposed_share"]),
                *(by_exposure(row, method) for method in ("itt", "exposed", "diluted", "complier")),
                p_text(row["agree_p_value"]),
            )
            for row in rows
        ),
        numeric=(2, 7),
    )
    note = "All from the assignment on, in the metric's unit, with the interval in force; none of them decides."
    return [Text(lead), Fold("Every metric", (table, Text(note, quiet=True)))]
