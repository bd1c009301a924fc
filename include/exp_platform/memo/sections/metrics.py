"""The section on all metrics: grouped by role, each with figures and picture on the scale that decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.config.definition import definition_of
from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Facts, Fold, Heading, Result, Results, Section, Table, Text
from exp_platform.memo.effect_words import (
    figures,
    has_answer,
    levels,
    picture,
    relative_figures,
    sentence,
    verdict,
)
from exp_platform.memo.figures import Unit, p_text
from exp_platform.memo.published import Source

Row = Mapping[str, Any]
GROUPS = {"primary": "Primary", "secondary": "Secondary", "guardrail": "Guardrail metrics"}


def metrics(source: Source) -> Section:
    """Every metric × arm by its deciding row; the method comparison opens below."""
    rows = source.facts["metrics"]
    blocks: list[Any] = [Text(conclusive(rows))]
    for role, title in GROUPS.items():
        mine = [row for row in rows if row["role"] == role]
        if mine:
            blocks += [Heading(title), Results(tuple(_result(row, source) for row in mine))]
    blocks.append(Text("Better and worse are said after the correction for looking at several metrics.", quiet=True))
    blocks.append(Fold("Every method beside the one that decides", (_methods(source.facts["methods"], source),)))
    return Section("metrics", "All metrics", tuple(blocks))


def conclusive(rows: Sequence[Row]) -> str:
    """`5 of 8 metrics are conclusive`: their interval excludes zero after the correction."""
    if not any(row["is_judged"] for row in rows):
        return "None of these numbers may be read as an effect."
    clear = sum(row["tone"] != "unclear" for row in rows)
    return f"{clear} of {len(rows)} {'results' if len(rows) != 1 else 'result'} conclusive."


def mde_text(row: Row) -> str:
    """The smallest effect that could have been seen, on the scale that decides."""
    size = row["mde"]
    if size is not None and row["scale"] == "relative":
        size = size / abs(row["control_mean"]) if row["control_mean"] else None
    if size is None:
        return "–"
    unit = Unit.of(row)
    return unit.change(size, unit.decimals(size), sign=False)


def _result(row: Row, source: Source) -> Result:
    return Result(
        title=row["title"],
        about=", ".join(
            part for part in (f"in {row['arm']}" if source.several_arms else "", f"{row['direction']} is good") if part
        ),
        verdict=verdict(row),
        tone=row["tone"],
        figures=figures(row),
        picture=picture(row),
        sentence=sentence(row),
        marks=tuple(names.check_says(mark) for mark in row["marks"]),
        more=(*_more(row), _definition(row, source)),
    )


def _more(row: Row) -> tuple[Any, ...]:
    """The opened row: raw name, levels, users, p, what could have been seen, and the relative effect."""
    before, after = levels(row)
    pairs = [
        ("Name in the contract", f"{row['metric']}, version {row['metric_version']}"),
        ("Arm", row["arm"]),
        ("Without the change" if "expected" in before else "Control", f"{before} ({row['control_n'] or 0:,} users)"),
        ("With the change", f"{after} ({row['treatment_n'] or 0:,} users)"),
        ("Method", names.METHODS.get(row["method"], row["method"])),
        ("p", p_text(row["p_value"])),
        ("p, corrected", p_text(row["p_value_adjusted"])),
        ("Could have been seen", mde_text(row)),
        ("Relative effect", relative_figures(row)),
    ]
    if row["mature_share"] is not None:
        pairs.append(("Users whose window has closed", words.percent(row["mature_share"])))
    if row["variance_reduction"]:
        pairs.append(("Variance saved", words.percent(row["variance_reduction"])))
    if row["sentence"]:
        pairs.append(("To know", row["sentence"]))
    return (Facts(tuple(pairs)),)


def _definition(row: Row, source: Source) -> Fold:
    """The contract behind the numbers, key by key; keys at their default are left out."""
    content = definition_of(source.plan.metric(row["metric"]))
    pairs = tuple((key, _spelled(value)) for key, value in content.items())
    return Fold(f"Definition of version {row['metric_version']}", (Facts(pairs),))


def _spelled(value: Any) -> str:
    """A value of a contract as a person would write it.

    >>> _spelled({"start_hours": 0, "end_hours": 168.0})
    'start_hours: 0, end_hours: 168'
    >>> _spelled([0.5, True])
    '0.5, true'
    """
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_spelled(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_spelled(inner) for inner in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def _methods(rows: Sequence[Row], source: Source) -> Table:
    """Rows by every method; raw values, for the analyst."""
    return Table(
        heads=("Metric", "Arm", "Method", "Without", "With", "Change", "p", "p corrected", "Variance saved", "To know"),
        rows=tuple(
            (
                row["title"],
                row["arm"],
                f"{names.METHODS.get(row['method'], row['method'])}{' (decides)' if row['is_deciding'] else ''}",
                *levels(row),
                figures(row) if has_answer(row) else names.status(row["status"]),
                p_text(row["p_value"]),
                p_text(row["p_value_adjusted"]),
                _saved(row),
                row["sentence"],
            )
            for row in rows
        ),
        numeric=(6, 7, 8),
    )


def _saved(row: Row) -> str:
    parts = row["variance_reduction_by_covariate"]
    whole = words.percent(row["variance_reduction"])
    if len(parts) < 2:
        return whole
    return f"{whole}: " + ", ".join(f"{name} {words.percent(gain)}" for name, gain in parts.items())
