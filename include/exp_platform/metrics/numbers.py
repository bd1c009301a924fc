"""The numbers of a unit row as columns: `y0` is the value of metric 0, `y0_1` a ratio's denominator; x covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.metrics.families import has_unit_values
from exp_platform.metrics.values import unit_values

# The maps that hold a unit's numbers, and the letter that their columns begin with here; p is the pre-period.
MAPS = {"metrics": "y", "covariates": "x", "did_pre": "p"}
# The columns of a unit row that are no maps of numbers or flags.
UNIT_KEYS = ("experiment_id", "user_id", "variant_id", "anchor_utc", "cohort_date", "unit_bucket", "dimensions")
# What J5 reads of gold.fct_experiment_unit_outcomes.
UNIT_COLUMNS = ("variant_id", "cohort_date", "unit_bucket", "dimensions", *MAPS, "mature", "event_counts")


@dataclass(frozen=True)
class Number:
    """One number of a unit."""

    column: str
    source: str  # the map
    key: str
    metric: Metric


def numbers_of(index: int, metric: Metric) -> tuple[Number, ...]:
    """The numbers of one metric: value, covariate and pre-period, for a ratio all three of both parts."""
    return tuple(
        Number(f"{letter}{index}" + (f"_{part}" if part else ""), source, value.key, metric)
        for source, letter in MAPS.items()
        for part, value in enumerate(unit_values(metric))
    )


def all_numbers(metrics: Sequence[Metric]) -> tuple[Number, ...]:
    """Those of many metrics, in their order."""
    return tuple(number for i, metric in enumerate(metrics) for number in numbers_of(i, metric))


def in_columns(batch: pa.RecordBatch, metrics: Sequence[Metric]) -> pa.RecordBatch:
    """A batch of unit rows with a column for each number and `mature<i>` for each metric instead of its maps.

    An event-level quantile has only `y<i>`, its number of events or null.
    """
    maps = {name: entries(batch.column(name)) for name in (*MAPS, "mature", "event_counts")}
    nothing = pa.nulls(len(batch), pa.float64())
    columns = {name: batch.column(name) for name in ("variant_id", "cohort_date", "unit_bucket", "dimensions")}
    columns |= {n.column: maps[n.source].get(n.key, nothing) for n in all_numbers(metrics)}
    for i, metric in enumerate(metrics):
        columns[f"mature{i}"] = pc.fill_null(maps["mature"].get(metric.name, nothing.cast(pa.bool_())), False)
        if not has_unit_values(metric):
            columns[f"y{i}"] = maps["event_counts"].get(metric.name, nothing).cast(pa.float64())
    return pa.RecordBatch.from_pydict(columns)


def in_maps(batch: pa.RecordBatch, metrics: Sequence[Metric]) -> pa.RecordBatch:
    """The opposite: unit rows with their maps, the same keys in the same order in every row."""
    maps = {}
    for source in MAPS:
        mine = [number for number in all_numbers(metrics) if number.source == source]
        maps[source] = together({n.key: batch.column(n.column) for n in mine}, pa.float64(), len(batch))
    flags = {metric.name: batch.column(f"mature{i}") for i, metric in enumerate(metrics)}
    counts = {m.name: batch.column(f"y{i}") for i, m in enumerate(metrics) if not has_unit_values(m)}
    maps["mature"] = together(flags, pa.bool_(), len(batch))
    maps["event_counts"] = together(counts, pa.int64(), len(batch))
    flat = {name: batch.column(name) for name in batch.schema.names if name in UNIT_KEYS}
    return pa.RecordBatch.from_pydict(flat | maps)


def together(columns: Mapping[str, pa.Array], kind: pa.DataType, rows: int) -> pa.MapArray:
    """A map for each row with the value of each column."""
    width = len(columns)
    places = np.arange(rows * width)
    values = pa.concat_arrays([column.cast(kind) for column in columns.values()] or [pa.nulls(0, kind)])
    keys = pa.array(list(columns), pa.string()).take(pa.array(places % max(width, 1)))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    by_row = pa.array(places % max(width, 1) * rows + places // max(width, 1))
    return pa.MapArray.from_arrays(offsets, keys, values.take(by_row))


def entries(maps: pa.MapArray) -> dict[str, pa.Array]:
    """The values of each key as a column.

    J4 writes the same keys in the same order into every row, so that a column is every n-th value; rows that were
    written otherwise are looked up key by key.
    """
    offsets = maps.offsets.to_numpy()
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = maps.keys.slice(first, length), maps.items.slice(first, length)
    if length == 0:
        return {}
    width = int(offsets[1] - offsets[0])
    regular = maps.null_count == 0 and width > 0 and bool((np.diff(offsets) == width).all())
    places = np.arange(length) % width if regular else None
    if places is None or not pc.all(pc.equal(keys, keys.slice(0, width).take(pa.array(places)))).as_py():
        return {key: pc.map_lookup(maps, key, "first") for key in keys.unique().to_pylist()}
    rows = pa.array(np.arange(len(maps)) * width)
    return {key: values.take(pc.add(rows, j)) for j, key in enumerate(keys.slice(0, width).to_pylist())}
