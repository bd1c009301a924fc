"""Why something does not count: the first of several named conditions."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def first_reason(conditions: dict[str, Column]) -> Column:
    """The name of the first condition that holds, or null where none does."""
    return F.coalesce(*(F.when(condition, F.lit(name)) for name, condition in conditions.items()))
