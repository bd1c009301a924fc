"""Column types of the table declarations, translated to Iceberg, Arrow and Spark."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyiceberg import types as iceberg
from pyiceberg.schema import Schema

from exp_platform.lake.tables import Table

_ICEBERG: dict[str, iceberg.IcebergType] = {
    "string": iceberg.StringType(),
    "long": iceberg.LongType(),
    "int": iceberg.IntegerType(),
    "double": iceberg.DoubleType(),
    "boolean": iceberg.BooleanType(),
    "timestamptz": iceberg.TimestamptzType(),
    "date": iceberg.DateType(),
}
_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "long": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}
_SPARK = {"long": "bigint", "timestamptz": "timestamp"}


def _parts(kind: str) -> tuple[str, ...]:
    """Split a declared type: `list<double>` -> (list, double), `map<string,long>` -> (map, string, long)."""
    if "<" not in kind:
        return (kind,)
    outer, inner = kind.rstrip(">").split("<")
    return (outer, *(part.strip() for part in inner.split(",")))


class _Ids:
    """A counter of field ids for a new schema; the catalog assigns the final ids."""

    def __init__(self, start: int) -> None:
        self.last = start

    def take(self) -> int:
        self.last += 1
        return self.last


def iceberg_type(kind: str, ids: _Ids | None = None) -> iceberg.IcebergType:
    """The Iceberg type of a declared type; list elements and map values may be null."""
    ids = ids or _Ids(10_000)
    match _parts(kind):
        case ("list", element):
            return iceberg.ListType(ids.take(), _ICEBERG[element], element_required=False)
        case ("map", key, value):
            return iceberg.MapType(ids.take(), _ICEBERG[key], ids.take(), _ICEBERG[value], value_required=False)
        case (simple,):
            return _ICEBERG[simple]
    raise ValueError(kind)


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a declared type."""
    match _parts(kind):
        case ("list", element):
            return pa.list_(_ARROW[element])
        case ("map", key, value):
            return pa.map_(_ARROW[key], _ARROW[value])
        case (simple,):
            return _ARROW[simple]
    raise ValueError(kind)


def spark_type(kind: str) -> str:
    """The Spark SQL type of a declared type, as `DataType.simpleString` spells it."""
    match _parts(kind):
        case ("list", element):
            return f"array<{_SPARK.get(element, element)}>"
        case ("map", key, value):
            return f"map<{_SPARK.get(key, key)},{_SPARK.get(value, value)}>"
        case (simple,):
            return _SPARK.get(simple, simple)
    raise ValueError(kind)


def iceberg_schema(table: Table) -> Schema:
    """The Iceberg schema of a table; its columns are numbered from 1 in the declared order."""
    ids = _Ids(len(table.columns))
    return Schema(
        *(
            iceberg.NestedField(
                i,
                column,
                iceberg_type(kind, ids),
                required=column in table.required,
                doc=table.descriptions.get(column),
            )
            for i, (column, kind) in enumerate(table.types.items(), start=1)
        )
    )


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema(
        [pa.field(c, arrow_type(kind), nullable=c not in table.required) for c, kind in table.types.items()]
    )


def to_arrow(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the declared schema; a missing column is null, an unknown column is an error."""
    unknown = sorted({key for row in rows for key in row} - set(table.columns))
    if unknown:
        raise KeyError(f"{table.name}: unknown columns {', '.join(unknown)}; declared: {', '.join(table.columns)}")
    filled = [{column: row.get(column) for column in table.columns} for row in rows]
    nullable = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
    return pa.Table.from_pylist(filled, schema=nullable)
