"""A long table of results as numpy columns: what lies between estimators (arrays) and tables (arrow)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema

Frame = dict[str, NDArray[Any]]


def labels(*axes: Sequence[Any]) -> list[NDArray[Any]]:
    """For each axis of a cube its label in every cell, in C order."""
    shape = tuple(len(axis) for axis in axes)
    grids = np.indices(shape).reshape(len(axes), -1)
    return [_objects(axis)[grid] for axis, grid in zip(axes, grids, strict=True)]


def concat(frames: Sequence[Frame]) -> Frame:
    """Stack frames with the same columns."""
    return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def take(frame: Frame, index: Any) -> Frame:
    """Pick rows by mask or by position."""
    return {name: column[index] for name, column in frame.items()}


def rank(column: NDArray[Any], order: Sequence[Any]) -> NDArray[np.int64]:
    """Position of each value in `order`, for sorting and grouping by number; unknown values come last."""
    position = {value: i for i, value in enumerate(order)}
    return np.array([position.get(value, len(position)) for value in column.tolist()], dtype=np.int64)


def to_table(name: str, frame: Frame, constants: Mapping[str, Any]) -> pa.Table:
    """The declared Arrow table; NaN becomes null, whole numbers go back to integers, constants fill whole columns."""
    schema = arrow_schema(TABLES[name])
    rows = len(next(iter(frame.values())))
    columns = []
    for field in schema:
        if field.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[field.name], type=field.type), rows))
            continue
        if pa.types.is_map(field.type):
            columns.append(pa.array(frame[field.name].tolist(), field.type))
            continue
        columns.append(pa.array(frame[field.name], from_pandas=True).cast(field.type))
    return pa.table(columns, schema=schema)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array
