"""J4 from one day to the next: each unit row carries the exact partial values that its numbers were rounded from.

A daily run adds the new events to them. Units that are new, or whose assignment or anchor has changed, are computed
from all their events. What comes out is the same, byte for byte, as from all events at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.transforms.joins import HASH, JoinHint
from exp_platform.transforms.unit_partials import USER, Layout, slot_columns, unit_partials

INSTANTS = ("assignment_us", "anchor_us")


@dataclass(frozen=True)
class Fresh:
    """Units whose partial values are not known yet: their windows, how many, and the first event that counts."""

    windows: DataFrame
    units: int
    first_event_us: int


def packed(layout: Layout) -> list[Column]:
    """The columns `partials` and `partials_real` of a unit row, from its partial values."""
    whole, real = [], []
    for i, slot in enumerate(layout.slots):
        if slot.kind == "last":
            whole.append(F.col(f"p{i}.event_us"))
            real.append(F.col(f"p{i}.value"))
        elif slot.kind == "max":
            real.append(F.col(f"p{i}"))
        else:
            whole += [F.col(name) for name in slot_columns(i, slot)]
    return [
        F.array(*whole).cast("array<bigint>").alias("partials"),
        F.array(*real).cast("array<double>").alias("partials_real"),
    ]


def unpacked(units: DataFrame, layout: Layout) -> DataFrame:
    """One row per unit: its partial values as columns again, and the instants that they were computed for."""
    columns, whole, real = [], 0, 0
    for i, slot in enumerate(layout.slots):
        if slot.kind in ("max", "last"):
            value = F.col("partials_real")[real]
            real += 1
        if slot.kind == "max":
            columns.append(value.alias(f"p{i}"))
        elif slot.kind == "last":
            event_us = F.col("partials")[whole]
            known = F.struct(event_us.alias("event_us"), value.alias("value"))
            columns.append(F.when(event_us.isNotNull(), known).alias(f"p{i}"))
            whole += 1
        else:
            for name in slot_columns(i, slot):
                columns.append(F.col("partials")[whole].alias(name))
                whole += 1
    return units.select(*USER, *_instants("known_"), *columns)


def fresh_units(windows: DataFrame, units: DataFrame, layout: Layout, *, join: JoinHint = HASH) -> Fresh:
    """The included units that the previous rows do not hold with the same assignment and anchor."""
    fresh = _beside(windows, units.select(*USER, *_instants("known_")), join).where(~_known()).select(windows.columns)
    row = fresh.agg(F.count(F.lit(1)).alias("units"), F.min("assignment_us").alias("first")).collect()[0]
    first = row["first"] or 0
    return Fresh(fresh, row["units"], first - max((_reach(layout, first)), default=0))


def updated_partials(
    windows: DataFrame,
    units: DataFrame,
    new_events: DataFrame,
    history: DataFrame,
    fresh: Fresh,
    layout: Layout,
    *,
    join: JoinHint = HASH,
) -> DataFrame:
    """Partial values of every included unit: the previous rows' plus the new events', or for fresh units all events'.

    `new_events` and `history` (all events that count for fresh units) come from `seen_events`.
    """
    names = [name for i, slot in enumerate(layout.slots) for name in slot_columns(i, slot)]
    added = _renamed(unit_partials(new_events, windows, layout, join=join), names, "new_")
    whole = _beside(windows, unpacked(units, layout), join).join(added.hint(join), USER, "left")
    if fresh.units:
        everything = unit_partials(history, F.broadcast(fresh.windows), layout)
        whole = whole.join(_renamed(everything, names, "all_"), USER, "left")
    else:
        whole = whole.select("*", *(F.lit(None).alias(f"all_{name}") for name in names))
    merged = [
        F.when(_known(), _merge(slot.kind, F.col(name), F.col(f"new_{name}")))
        .otherwise(F.col(f"all_{name}"))
        .alias(name)
        for i, slot in enumerate(layout.slots)
        for name in slot_columns(i, slot)
    ]
    return whole.select(*USER, *merged)


def since(outcomes: DataFrame, first_event_us: int) -> DataFrame:
    """The outcome events from an instant on; files that end before it are not read."""
    return outcomes.where(F.col("outcome_ts") >= F.timestamp_micros(F.lit(first_event_us)))


def _merge(kind: str, before: Column, new: Column) -> Column:
    """Both parts together; null where neither saw an event. A struct of the latest event compares time, then value."""
    return F.greatest(before, new) if kind in ("max", "last") else F.coalesce(before + new, before, new)


def _beside(windows: DataFrame, state: DataFrame, join: JoinHint) -> DataFrame:
    """The narrow side goes into the hash table."""
    return windows.hint(join).join(state, USER, "left")


def _known() -> Column:
    same = [F.col(name) == F.col(f"known_{name}") for name in INSTANTS]
    return F.coalesce(same[0] & same[1], F.lit(False))


def _instants(prefix: str) -> list[Column]:
    return [
        F.unix_micros("assignment_time_utc").alias(f"{prefix}assignment_us"),
        F.unix_micros("anchor_utc").alias(f"{prefix}anchor_us"),
    ]


def _renamed(partials: DataFrame, names: list[str], prefix: str) -> DataFrame:
    return partials.select(*USER, *(F.col(name).alias(prefix + name) for name in names))


def _reach(layout: Layout, first_us: int) -> list[int]:
    """How long before assignment each period begins, at most."""
    reach = []
    for period in {slot.period for slot in layout.slots}:
        if period.kind == "covariate":
            reach.append(period.start_us)
        elif period.kind == "did_pre":
            end = period.end_us if period.end_us is not None else (period.not_after_us or 0) - first_us
            reach.append(max(end - period.start_us, 0))
    return reach
