"""The join of events with their units, which the whole spine uses, and the choice of Spark's join strategy."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import DataFrame

JoinHint = Literal["shuffle_hash", "merge"]

# A hash join puts a bucket's units into a hash table and streams the events past it: at 18M events two and a half times
# cheaper than sorting both sides. The table must fit into the executor's memory, so more units are sorted.
HASH: JoinHint = "shuffle_hash"
SORT: JoinHint = "merge"
UNITS_IN_MEMORY = 8_000_000


def join_for(units: int) -> JoinHint:
    """The hash join for up to UNITS_IN_MEMORY units, else the sort-merge join."""
    return HASH if units <= UNITS_IN_MEMORY else SORT


def events_of_units(
    units: DataFrame, events: DataFrame, join: JoinHint, how: Literal["inner", "left"] = "inner"
) -> DataFrame:
    """Events joined with their units; with `left` a unit without events has one row. A unit's rows stay together."""
    return units.hint(join).join(events, ["experiment_id", "user_id"], how)
