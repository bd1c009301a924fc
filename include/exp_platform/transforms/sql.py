"""Texts and dates as literals of Spark."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def quoted(text: str) -> str:
    """The text as a literal, with quotes and backslashes escaped."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def not_before(column: str, day: date) -> Column:
    """The condition that a time is not before the first instant of a day.

    The day goes to Spark as text: PySpark writes the year of a date without leading zeros, and Java refuses the year 1.
    """
    from pyspark.sql import functions as F

    return F.col(column) >= F.lit(day.isoformat()).cast("date")
