"""The section on who was counted: the funnel of users by arm, and all assigned users beside the exposed ones."""

from __future__ import annotations

from typing import Any

from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Fold, Section, Table, Text
from exp_platform.memo.exposed_beside_all import shown as by_exposure
from exp_platform.memo.figures import p_text
from exp_platform.memo.left_out import WORDS as LEFT_OUT
from exp_platform.memo.published import Source


def who(source: Source) -> Section | None:
    """The funnel, where users are known by arm, and the effect on assigned and on exposed users."""
    blocks = [*_funnel(source), *_exposure(source)]
    return Section("who", "Who was counted", tuple(blocks)) if blocks else None


def _funnel(source: Source) -> list[Any]:
    """Users of each arm from the assignment to the analysis, with the number and the reason of those who were left."""
    found = source.facts["data"].get("left_out") or {}
    if not found.get("users"):
        return []
    reasons = sorted({reason for row in found["users"] for reason in row["reasons"]})
    rows = tuple(
        (
            row["arm"],
            f"{row['assigned']:,}",
            *(f"{row['reasons'].get(reason, 0):,}" for reason in reasons),
            f"{row['analysed']:,}",
            words.percent(row["analysed"] / row["assigned"] if row["assigned"] else None),
        )
        for row in found["users"]
    )
    left = tuple(LEFT_OUT.get(reason, reason).capitalize() for reason in reasons)
    heads = ("Arm", "Assigned", *left, "Analysed", "Share of the assigned")
    mature = source.facts["plan"]["mature_share"]
    closed = f"For {words.percent(mature)} of the analysed users the window of the primary metric has closed."
    blocks: list[Any] = [Table(heads, rows, numeric=tuple(range(1, len(heads))))]
    return [*blocks, *([] if mature is None else [Text(closed, quiet=True)]), *_checks(found["checks"])]


def _checks(rows: list[Any]) -> list[Any]:
    """The users that each check of the exposures speaks of, beside those that it looks at."""
    table = Table(
        heads=("Check", "Users", "Of"),
        rows=tuple((names.check_name(row["check_name"]), f"{row['users']:,}", f"{row['of']:,}") for row in rows),
        numeric=(1, 2),
    )
    return [Fold("How many users each check of the exposures speaks of", (table,))] if rows else []


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
