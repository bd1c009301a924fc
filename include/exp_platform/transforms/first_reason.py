"""Reasons for exclusion: the first of several named conditions that holds."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def first_reason(conditions: dict[str, Column]) -> Column:
    """The name of the first condition that holds; null when none holds."""
    return F.coalesce(*(F.when(condition, F.lit(name)) for name, condition in conditions.items()))
