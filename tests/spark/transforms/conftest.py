"""Tiny event tables written as rows of words, and frames read back the same way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

EXPERIMENT = "exp_1"


def at(text: str) -> datetime:
    """`01-02 10:00` is 2 January 2026, 10:00 UTC."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


@pytest.fixture
def events(spark: object) -> Callable[..., object]:
    """events("variant", "assignment_ts", rows=["u1 control 01-02T10:00"]): the user, a word a column; - is null."""

    def build(*columns: str, rows: list[str]) -> object:
        times = {c for c in columns if c.endswith(("_ts", "_utc"))}
        records = []
        for row in rows:
            user, *values = row.split()
            cells = [
                None if value == "-" else at(value) if column in times else value
                for column, value in zip(columns, values, strict=True)
            ]
            records.append((EXPERIMENT, user, *cells))
        kinds = ", ".join(f"{c} {'timestamp' if c in times else 'string'}" for c in columns)
        return spark.createDataFrame(records, f"experiment_id string, user_id string, {kinds}")

    return build


@pytest.fixture
def table() -> Callable[..., list[str]]:
    """table(frame, "user_id", "is_valid"): the rows as words, sorted; times as `01-02T10:00`, null as -."""

    def show(frame: object, *columns: str) -> list[str]:
        from pyspark.sql import functions as F

        kinds = dict(frame.dtypes)
        shown = [F.date_format(c, "MM-dd'T'HH:mm").alias(c) if kinds[c] == "timestamp" else F.col(c) for c in columns]
        return sorted(" ".join(_word(v) for v in row) for row in frame.select(*shown).collect())

    return show


def _word(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
