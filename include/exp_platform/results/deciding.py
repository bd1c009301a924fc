"""The deciding rows of exp.analysis_results, read back for guardrails, checks and the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.stats.effect import Effect

Row = Mapping[str, Any]
_TEXT = ("status", "reason")


def deciding_rows(results: pa.Table) -> dict[tuple[str, str], dict[str, Any]]:
    """(metric, arm) -> its one deciding row."""
    rows = results.filter(pc.fill_null(results["is_deciding"], False)).to_pylist()
    return {(row["metric_name"], row["variant_id"]): row for row in rows}


def overall_rows(results: pa.Table) -> list[dict[str, Any]]:
    """The rows of the whole cohort by every method."""
    return list(results.filter(pc.equal(results["segment"], "all")).to_pylist())


def effect_of(rows: Sequence[Row]) -> Effect:
    """Rows as one Effect with one element a row; what the table does not hold (standard errors) is null."""
    columns: dict[str, Any] = {}
    for f in fields(Effect):
        values = [row.get(f.name) for row in rows]
        columns[f.name] = (
            np.array(values, dtype=object)
            if f.name in _TEXT
            else np.array([np.nan if value is None else value for value in values], dtype=float)
        )
    return Effect(**columns)
