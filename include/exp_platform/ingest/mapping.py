"""A source's columns as the contract's: by name, by Spark SQL expression or by constant, cast to the contract's types.

Texts become times and numbers here; a text that is neither is kept beside the null that it becomes, in a column
`_unparsed_<column>`, so that the row can be refused with what it said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegralType,
    NullType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from exp_platform.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SPARK_TYPES = {"string": "string", "double": "double", "timestamptz": "timestamp"}

# ISO 8601 with date and time; no zone is UTC. Spark's own cast would also take `12:30` (of today!) or `2026`.
TIME_PATTERN = r"^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?\s*(Z|UTC|[+-]\d{2}(:?\d{2})?)?\s*$"
TIME_SHOWN = "YYYY-MM-DDTHH:MM[:SS[.fraction]][Z|±HH[:MM]]"

EXPECTED = {
    "string": "text",
    "double": "a number",
    "timestamptz": f"a time, or text as {TIME_SHOWN}",
}


class WrongTypeError(Exception):
    """A column of the source has a type that the contract's column cannot be made from."""

    def __init__(self, column: str, found: str, expected: str) -> None:
        super().__init__(f"column '{column}' is {found}, must be {expected}")


class MissingColumnError(Exception):
    """A column that the contract requires, or an expression names, is not in the source."""


def unparsed(column: str) -> str:
    """The column that keeps what could not be parsed."""
    return f"_unparsed_{column}"


def quoted_name(column: str) -> str:
    """A column's name for Spark, whatever characters it has.

    >>> quoted_name("a.b`c")
    '`a.b``c`'
    """
    return f"`{column.replace('`', '``')}`"


def source_expression(frame: DataFrame, column: str, columns: Mapping[str, str]) -> Column:
    """Where a contract column comes from: a source column by its name, else a Spark SQL expression."""
    text = columns.get(column, column)
    if text in frame.columns:
        return F.col(quoted_name(text))
    if column not in columns:
        raise MissingColumnError(f"column '{column}' is missing; found: {', '.join(_shown(frame)) or 'none'}")
    try:
        expression = F.expr(text)
        frame.select(expression)
    except ParseException as error:
        raise ConfigError(
            f"sources: columns: {column}: {text!r} is no column and no Spark SQL: {_first_line(error)}"
        ) from None
    except AnalysisException as error:
        raise MissingColumnError(f"'{text}' for '{column}' cannot be worked out: {_first_line(error)}") from None
    return expression


def contract_columns_from(
    frame: DataFrame,
    types: Mapping[str, str],
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    lenient: bool,
    nanoseconds: frozenset[str] = frozenset(),
) -> dict[str, Column]:
    """Every contract column, and `_unparsed_` ones where text is parsed.

    `lenient` (mapped sources): whole numbers may become text, text may become numbers, dates become times.
    """
    made: dict[str, Column] = {}
    for column, kind in types.items():
        if column in constants:
            made[column] = constant(column, constants[column], kind)
            continue
        source = source_expression(frame, column, columns)
        found = frame.select(source.alias("it")).schema["it"].dataType
        if columns.get(column, column) in nanoseconds:
            made[column] = microseconds_of(columns.get(column, column))
        elif isinstance(found, StringType) and kind != "string" and (lenient or kind == "timestamptz"):
            made[column] = parse(source, kind)
            made[unparsed(column)] = F.when(parse(source, kind).isNull(), source)
        elif accepts(found, kind, lenient):
            made[column] = source.cast(SPARK_TYPES[kind])
        else:
            raise WrongTypeError(column, found.simpleString(), EXPECTED[kind])
    return made


def accepts(found: DataType, kind: str, lenient: bool) -> bool:
    """Whether every value of a type has its one counterpart in the contract's type."""
    if isinstance(found, NullType):
        return True
    if kind == "string":
        whole = isinstance(found, IntegralType) or (isinstance(found, DecimalType) and found.scale == 0)
        return isinstance(found, StringType) or (lenient and whole)
    if kind == "double":
        return isinstance(found, NumericType) or (lenient and isinstance(found, BooleanType))
    return isinstance(found, (TimestampType, TimestampNTZType)) or (lenient and isinstance(found, DateType))


def parse(text: Column, kind: str) -> Column:
    """A number or a time out of a text; null where it is none."""
    if kind == "double":
        return text.try_cast("double")
    written = F.trim(text)
    # Spark takes a zone only behind seconds.
    with_seconds = F.regexp_replace(written, r"^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(?!:)", "$1:00")
    time = F.coalesce(written.try_cast("timestamp"), with_seconds.try_cast("timestamp"))
    return F.when(text.rlike(TIME_PATTERN), time)


def microseconds_of(nanoseconds: str) -> Column:
    """A time out of a column of nanoseconds since 1970, cut to microseconds (downwards, also before 1970)."""
    name = quoted_name(nanoseconds)
    return F.expr(f"timestamp_micros(({name} - pmod({name}, 1000)) div 1000)")


def constant(column: str, text: str, kind: str) -> Column:
    """One value for every row."""
    try:
        if kind == "double":
            return F.lit(float(text))
        if kind == "timestamptz":
            time = datetime.fromisoformat(text)
            return F.lit(time if time.tzinfo else time.replace(tzinfo=UTC))
    except ValueError:
        raise ConfigError(f"sources: constants: {column}: found {text!r}, expected {EXPECTED[kind]}") from None
    return F.lit(text)


def _shown(frame: DataFrame) -> list[str]:
    return [column for column in frame.columns if not column.startswith("_")]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].strip()
