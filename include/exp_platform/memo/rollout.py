"""The memo's section on a before-and-after comparison: what was expected without the change, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.status import Method


def before_after_rows(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each metric × arm that difference-in-differences decides and whose four levels are known."""
    return [{**row, **levels(row)} for row in metrics if row["method"] == Method.DID and levels(row)]


def levels(row: Mapping[str, Any]) -> dict[str, float]:
    """Change of control and of the arm, and the arm's level had it changed as control did; empty if a level is null."""
    means = [row[f"{arm}_{when}"] for arm in ("control", "treatment") for when in ("pre_mean", "mean")]
    if None in means:
        return {}
    control_before, control_after, before, after = means
    change = control_after - control_before
    return {"control_change": change, "treatment_change": after - before, "expected": before + change}
