"""How events find their unit: the one join of the spine, and the one place that says how Spark is to do it."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import DataFrame

JoinHint = Literal["shuffle_hash", "merge"]

# Units of a bucket go into a hash table and its events stream past them: at 18M events two and a half times cheaper
# than sorting both sides. The table must fit into the executor: beyond some millions of units they are sorted.
HASH: JoinHint = "shuffle_hash"
SORT: JoinHint = "merge"
UNITS_IN_MEMORY = 8_000_000


def join_for(units: int) -> JoinHint:
    """The join that so many units allow."""
    return HASH if units <= UNITS_IN_MEMORY else SORT


def events_of_units(
    units: DataFrame, events: DataFrame, join: JoinHint, how: Literal["inner", "left"] = "inner"
) -> DataFrame:
    """Each event beside its unit; with `left` a unit without events keeps one row. Rows of a unit stay together."""
    return units.hint(join).join(events, ["experiment_id", "user_id"], how)
