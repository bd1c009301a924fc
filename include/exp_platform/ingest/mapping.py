"""Map a source's columns to the contract's: by name, Spark SQL expression or constant, cast to the contract's types.

Texts are parsed to times and numbers. A text that can't be parsed becomes null and is kept in `_unparsed_<column>`, so
that the quarantine shows the refused row as it was written.
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

# ISO 8601 with date and time; without a zone it is UTC. Spark's own cast would also take `12:30` (today!) or `2026`.
TIME_PATTERN = r"^\s*\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?\s*(Z|UTC|[+-]\d{2}(:?\d{2})?)?\s*$"
TIME_SHOWN = "YYYY-MM-DDTHH:MM[:SS[.fraction]][Z|±HH[:MM]]"

EXPECTED = {
    "string": "text",
    "double": "a number",
    "timestamptz": f"a time, or text as {TIME_SHOWN}",
}


class WrongTypeError(Exception):
    """A column of the source has a type that can't be converted to the contract's type."""

    def __init__(self, column: str, found: str, expected: str) -> None:
        super().__init__(f"column '{column}' is {found}, must be {expected}")


class MissingColumnError(Exception):
    """The source lacks a column that the contract requires or an expression names."""


def unparsed(column: str) -> str:
    """Name of the column that keeps a column's unparsed text."""
    return f"_unparsed_{column}"


def quoted_name(column: str) -> str:
    """A column's name quoted for Spark SQL, whatever characters it has.

    >>> quoted_name("a.b`c")
    '`a.b``c`'
    """
    return f"`{column.replace('`', '``')}`"


def source_expression(frame: DataFrame, column: str, columns: Mapping[str, str]) -> Column:
    """The source of a contract column: the source column of that name, else a Spark SQL expression."""
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
            f"sources: columns: {column}: {text!r} is neither a column nor Spark SQL: {_first_line(error)}"
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
    """Contract column -> its expression, and `_unparsed_<column>` for each column that is parsed from text.

    With `lenient`, for mapped sources, whole numbers may become text, text numbers, and dates times.
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
    """True when every value of a type can be converted to the contract's type without loss."""
    if isinstance(found, NullType):
        return True
    if kind == "string":
        whole = isinstance(found, IntegralType) or (isinstance(found, DecimalType) and found.scale == 0)
        return isinstance(found, StringType) or (lenient and whole)
    if kind == "double":
        return isinstance(found, NumericType) or (lenient and isinstance(found, BooleanType))
    return isinstance(found, (TimestampType, TimestampNTZType)) or (lenient and isinstance(found, DateType))


def parse(text: Column, kind: str) -> Column:
    """The number or time that a text spells; null where it spells none."""
    if kind == "double":
        return text.try_cast("double")
    written = F.trim(text)
    # Spark accepts a zone only after seconds.
    with_seconds = F.regexp_replace(written, r"^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(?!:)", "$1:00")
    time = F.coalesce(written.try_cast("timestamp"), with_seconds.try_cast("timestamp"))
    return F.when(text.rlike(TIME_PATTERN), time)


def microseconds_of(nanoseconds: str) -> Column:
    """The time in a column of nanoseconds since 1970, rounded down to microseconds, also before 1970."""
    name = quoted_name(nanoseconds)
    return F.expr(f"timestamp_micros(({name} - pmod({name}, 1000)) div 1000)")


def constant(column: str, text: str, kind: str) -> Column:
    """A constant of the configuration as the value of every row."""
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
