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
from exp_platform.ingest.engine_errors import reason_of
from exp_platform.ingest.problems import named
from exp_platform.ingest.times import TIME_SHOWN, epoch_time, in_zone, is_epoch, parsed_time

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from exp_platform.ingest.dataset_sources import DatasetSource

SPARK_TYPES = {"string": "string", "double": "double", "timestamptz": "timestamp"}

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
        raise MissingColumnError(f"column '{column}' is missing; found: {named(_shown(frame)) or 'none'}")
    try:
        expression = F.expr(text)
        frame.select(expression)
    except ParseException as error:
        raise ConfigError(
            f"sources: columns: {column}: {text!r} is neither a column nor Spark SQL: {reason_of(error)}"
        ) from None
    except AnalysisException as error:
        raise MissingColumnError(f"'{text}' for '{column}' cannot be worked out: {reason_of(error)}") from None
    return expression


def contract_columns_from(
    frame: DataFrame,
    source: DatasetSource,
    made_already: Mapping[str, Column] | None = None,
    nanoseconds: frozenset[str] = frozenset(),
) -> dict[str, Column]:
    """Contract column -> its expression, and `_unparsed_<column>` for each column that is parsed from text.

    `made_already` holds columns that the shape of the source's rows has given.
    """
    made: dict[str, Column] = dict(made_already or {})
    for column, kind in source.types.items():
        if column in made:
            continue
        if column in source.constants:
            made[column] = constant(column, source.constants[column], kind)
            continue
        if column in source.own_names and column in source.defaults and column not in frame.columns:
            made[column] = constant(column, source.defaults[column], kind)
            continue
        expression = source_expression(frame, column, source.columns)
        name = source.columns.get(column, column)
        if name in nanoseconds:
            made[column] = microseconds_of(name)
            continue
        made[column], text = typed(frame, column, expression, kind, source)
        if text is not None:
            made[unparsed(column)] = text
    return made


def typed(
    frame: DataFrame, column: str, expression: Column, kind: str, source: DatasetSource
) -> tuple[Column, Column | None]:
    """A value in the contract's type, and the text that could not be parsed (None where no text is parsed).

    In mapped sources whole numbers may become text, text numbers, and dates times.
    """
    lenient, written = source.is_mapped, source.timestamp_format
    found = frame.select(expression.alias("it")).schema["it"].dataType
    if column == "variant" and source.aliases:
        if isinstance(found, BooleanType) or accepts(found, kind, lenient):
            return renamed(expression.cast("string"), source.aliases), None
    elif isinstance(found, StringType) and kind != "string" and (lenient or kind == "timestamptz"):
        time = parsed_time(expression, written, source.timezone)
        parsed = expression.try_cast("double") if kind == "double" else time
        return parsed, F.when(parsed.isNull(), expression)
    elif kind == "timestamptz" and written is not None and is_epoch(written) and isinstance(found, NumericType):
        parsed = epoch_time(expression, written)
        return parsed, F.when(parsed.isNull(), expression.cast("string"))
    elif accepts(found, kind, lenient):
        value = expression.cast(SPARK_TYPES[kind])
        has_no_zone = isinstance(found, TimestampNTZType | DateType)
        return (in_zone(value, source.timezone) if has_no_zone else value), None
    hint = "; say timestamp_format: epoch_millis (or epoch_seconds, epoch_micros) for counts since 1970"
    counts = lenient and kind == "timestamptz" and isinstance(found, NumericType)
    raise WrongTypeError(column, found.simpleString(), EXPECTED[kind] + (hint if counts else ""))


def renamed(name: Column, aliases: Mapping[str, str]) -> Column:
    """The arm that a name in the source stands for; a name without an alias stays."""
    found = name
    for alias, arm in aliases.items():
        found = F.when(name == F.lit(alias), F.lit(arm)).otherwise(found)
    return found


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
