"""Rows of a source become rows of events: elements of an array, wanted rows, one event for each metric of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from exp_platform.ingest.dataset_sources import DatasetSource
from exp_platform.ingest.mapping import WrongTypeError, source_expression, typed, unparsed
from exp_platform.ingest.row_rules import CORRUPT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ITEM = "item"
EVENT = "_event"


def event_rows(frame: DataFrame, source: DatasetSource) -> DataFrame:
    """The source's rows, one for each event; a line that is no row stays, so that it is refused and not lost."""
    if source.explode is not None:
        frame = _elements(frame, source.explode)
    if source.where is not None:
        frame = frame.where(source_expression(frame, "where", {"where": source.where}) | _is_no_row(frame))
    return _metric_events(frame, source) if source.metrics else frame


def metric_columns() -> dict[str, Column]:
    """Contract column -> its place in the event of `metrics`."""
    event = F.col(EVENT)
    return {"metric_name": event["metric_name"], "value": event["value"], unparsed("value"): event["text"]}


def _elements(frame: DataFrame, text: str) -> DataFrame:
    array = source_expression(frame, "explode", {"explode": text})
    found = frame.select(array.alias("it")).schema["it"].dataType
    if not isinstance(found, ArrayType):
        raise WrongTypeError("explode", f"{found.simpleString()} ({text})", "an array")
    nothing = F.array(F.lit(None).cast(found.elementType))
    return frame.withColumn(ITEM, F.explode(F.when(_is_no_row(frame), nothing).otherwise(array)))


def _metric_events(frame: DataFrame, source: DatasetSource) -> DataFrame:
    events = [_event(frame, source, number) for number in range(len(source.metrics))]
    nothing = F.lit(None)
    no_row = F.when(_is_no_row(frame), _struct(nothing.cast("string"), nothing.cast("double"), nothing.cast("string")))
    return frame.withColumn(EVENT, F.explode(F.array_compact(F.array(*events, no_row))))


def _event(frame: DataFrame, source: DatasetSource, number: int) -> Column:
    """The event of one metric, null for a row that does not feed it.

    With a condition the condition alone decides; without one, a row feeds the metric when it has a value.
    """
    metric = source.metrics[number]
    key = f"metrics.{metric.name}"
    found = source_expression(frame, f"{key}.value", {f"{key}.value": metric.value})
    value, text = typed(frame, f"{key}.value", found, "double", source)
    feeds = found.isNotNull()
    if metric.where is not None:
        feeds = source_expression(frame, f"{key}.where", {f"{key}.where": metric.where})
    kept = text if text is not None else F.lit(None).cast("string")
    return F.when(feeds & ~_is_no_row(frame), _struct(F.lit(metric.name), value, kept))


def _struct(name: Column, value: Column, text: Column) -> Column:
    return F.struct(name.alias("metric_name"), value.alias("value"), text.alias("text"))


def _is_no_row(frame: DataFrame) -> Column:
    """True for a line of a csv or json file that could not be read as a row."""
    return F.col(CORRUPT).isNotNull() if CORRUPT in frame.columns else F.lit(False)
