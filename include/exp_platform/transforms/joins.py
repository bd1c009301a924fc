"""The join of events with their units, which the whole spine uses, and the choice of Spark's join strategy."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

JoinHint = Literal["shuffle_hash", "merge"]

# A hash join puts a bucket's units into a hash table and streams the events past it: at 18M events two and a half times
# cheaper than sorting both sides. The table must fit into the executor's memory, so more units are sorted.
HASH: JoinHint = "shuffle_hash"
SORT: JoinHint = "merge"
UNITS_IN_MEMORY = 8_000_000
NUMBERS_IN_MEMORY = 2_000_000  # 16 bytes each in every executor
EVENTS_FOR_A_UNIT = 100


def join_for(units: int) -> JoinHint:
    """The hash join for up to UNITS_IN_MEMORY units, else the sort-merge join."""
    return HASH if units <= UNITS_IN_MEMORY else SORT


def hardly_any_other(events: DataFrame, units: DataFrame) -> DataFrame:
    """The events of some units, told by a number that is made of the user's name; a stranger's may be among them.

    Where events have to be shuffled to their units, and most are of users that are none, these are not worth the way:
    looking up a number costs a fifth of shuffling a row.
    """
    numbers = units.select(F.xxhash64("user_id").alias("number"))
    return events.join(F.broadcast(numbers), F.xxhash64("user_id") == F.col("number"), "left_semi")


def few_of_many(units: int, events: int) -> bool:
    """True where so few of the users that events are of can be units that the others' events had better be left out."""
    return units <= NUMBERS_IN_MEMORY and events >= EVENTS_FOR_A_UNIT * units


def events_of_units(
    units: DataFrame, events: DataFrame, join: JoinHint, how: Literal["inner", "left"] = "inner"
) -> DataFrame:
    """Events joined with their units; with `left` a unit without events has one row. A unit's rows stay together."""
    return units.hint(join).join(events, ["experiment_id", "user_id"], how)
