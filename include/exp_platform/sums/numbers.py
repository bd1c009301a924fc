"""The numbers of a unit row as columns.

`y0` is the value of metric 0, `y0_1` its denominator, `x0` its covariate, `c0_1` the second that its contract names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.metrics.values import covariate_values, unit_values

# Map column of a unit row -> first letter of its numbers' columns: y value, x covariate, p pre-period.
MAPS = {"metrics": "y", "covariates": "x", "did_pre": "p"}
# The columns of a unit row that are not maps of numbers or flags.
UNIT_KEYS = ("experiment_id", "user_id", "variant_id", "anchor_utc", "cohort_date", "unit_bucket", "dimensions")
# The columns of gold.fct_experiment_unit_outcomes that J5 reads.
UNIT_COLUMNS = ("variant_id", "cohort_date", "unit_bucket", "dimensions", *MAPS, "mature", "event_counts")


@dataclass(frozen=True)
class Number:
    """One number of a unit row: its column, and the map and key that hold it in the table."""

    column: str
    source: str  # the map
    key: str
    metric: Metric


def numbers_of(index: int, metric: Metric) -> tuple[Number, ...]:
    """The numbers of one metric: value, covariate and pre-period; a ratio has them for numerator and denominator."""
    return tuple(
        Number(f"{letter}{index}" + (f"_{part}" if part else ""), source, value.key, metric)
        for source, letter in MAPS.items()
        for part, value in enumerate(unit_values(metric))
    )


def named_covariates(index: int, metric: Metric) -> tuple[Number, ...]:
    """The numbers that the contract names as covariates; the map has them once, whoever else reads them."""
    return tuple(
        Number(f"c{index}_{place}", "covariates", value.key, value.metric)
        for place, value in enumerate(covariate_values(metric))
    )


def all_numbers(metrics: Sequence[Metric]) -> tuple[Number, ...]:
    """The numbers of all metrics; the metric's position is the digit in the column names."""
    own = (number for i, metric in enumerate(metrics) for number in numbers_of(i, metric))
    return (*own, *(number for i, metric in enumerate(metrics) for number in named_covariates(i, metric)))


def stored_numbers(metrics: Sequence[Metric]) -> tuple[Number, ...]:
    """The numbers of all metrics, each entry of the maps once: several metrics may name one covariate."""
    entries_of: dict[tuple[str, str], Number] = {}
    for number in all_numbers(metrics):
        entries_of.setdefault((number.source, number.key), number)
    return tuple(entries_of.values())


def in_columns(batch: pa.RecordBatch, metrics: Sequence[Metric]) -> dict[str, NDArray[Any]]:
    """A batch's maps as columns: one for each number, NaN for null, and `mature<i>` for each metric.

    An event-level quantile has only `y<i>`, its number of events or null. The contract allows no NaN as a value.
    """
    maps = {name: entries(batch.column(name)) for name in (*MAPS, "mature", "event_counts")}
    nothing, never = np.full(len(batch), np.nan), np.zeros(len(batch), dtype=bool)
    columns = {n.column: maps[n.source].get(n.key, nothing) for n in all_numbers(metrics)}
    for i, metric in enumerate(metrics):
        columns[f"mature{i}"] = maps["mature"].get(metric.name, never)
        if metric.of_events:
            columns[f"y{i}"] = maps["event_counts"].get(metric.name, nothing)
    return columns


def in_maps(batch: pa.RecordBatch, metrics: Sequence[Metric]) -> pa.RecordBatch:
    """A batch's columns as maps, the opposite of `in_columns`; every row has the same keys in the same order."""
    maps = {}
    for source in MAPS:
        mine = [number for number in stored_numbers(metrics) if number.source == source]
        maps[source] = together({n.key: batch.column(n.column) for n in mine}, pa.float64(), len(batch))
    flags = {metric.name: batch.column(f"mature{i}") for i, metric in enumerate(metrics)}
    counts = {m.name: batch.column(f"y{i}") for i, m in enumerate(metrics) if m.of_events}
    maps["mature"] = together(flags, pa.bool_(), len(batch))
    maps["event_counts"] = together(counts, pa.int64(), len(batch))
    flat = {name: batch.column(name) for name in batch.schema.names if name in UNIT_KEYS}
    return pa.RecordBatch.from_pydict(flat | maps)


def together(columns: Mapping[str, pa.Array], kind: pa.DataType, rows: int) -> pa.MapArray:
    """Columns as one map per row; NumPy interleaves the values, which is far cheaper than row by row."""
    if not columns:
        return pa.array([[]] * rows, pa.map_(pa.string(), kind))
    own = [column.cast(kind) for column in columns.values()]
    empty = pa.scalar(0).cast(kind)
    values = np.stack([column.fill_null(empty).to_numpy(zero_copy_only=False) for column in own], axis=1).ravel()
    nulls = np.stack([column.is_null().to_numpy(zero_copy_only=False) for column in own], axis=1).ravel()
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * len(own))
    return pa.MapArray.from_arrays(offsets, _repeat(list(columns), rows), pa.array(values, kind, mask=nulls))


def _repeat(texts: list[str], times: int) -> pa.StringArray:
    """The texts repeated so many times, in one array."""
    letters = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in letters])
    offsets = np.arange(times)[:, None] * ends[-1] + ends
    places = np.concatenate([[0], offsets.ravel()]).astype(np.int32)
    return pa.StringArray.from_buffers(len(places) - 1, pa.py_buffer(places), pa.py_buffer(b"".join(letters) * times))


def entries(maps: pa.MapArray) -> dict[str, NDArray[Any]]:
    """Maps as one column per key: doubles have NaN, flags False, for null and for a missing key.

    J4 writes the same keys in the same order into every row, so a column is every n-th value; other rows are looked up
    key by key.
    """
    offsets = maps.offsets.to_numpy()
    first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = maps.keys.slice(first, length).cast(pa.string()), maps.items.slice(first, length)
    if length == 0:
        return {}
    width = int(offsets[1] - offsets[0])
    if maps.null_count or not width or (np.diff(offsets) != width).any() or not _repeated(keys, width):
        return {key: _dense(pc.map_lookup(maps, key, "first")) for key in keys.unique().to_pylist()}
    columns = np.ascontiguousarray(_dense(values).reshape(-1, width).T)
    return dict(zip(keys.slice(0, width).to_pylist(), columns, strict=True))


def _repeated(texts: pa.StringArray, width: int) -> bool:
    """True when each text equals that `width` places before; comparing their bytes is far cheaper than the texts."""
    _, ends, letters = texts.buffers()
    places = np.frombuffer(ends, np.int32, len(texts) + 1, 4 * texts.offset)
    used = np.frombuffer(letters, np.uint8)[places[0] : places[-1]] if letters else np.zeros(0, np.uint8)
    period = int(places[width] - places[0])
    alike = (places[width:] - places[:-width] == period).all()
    return bool(alike) and np.array_equal(used[period:], used[: len(used) - period])


def _dense(values: pa.Array) -> NDArray[Any]:
    if pa.types.is_boolean(values.type):
        flags: NDArray[np.bool_] = values.fill_null(False).to_numpy(zero_copy_only=False)
        return flags
    numbers: NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
