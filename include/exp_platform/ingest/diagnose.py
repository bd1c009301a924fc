"""Find the part of a mapping that fails on a value: the key, its expression, and a file with such a value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from exp_platform.config.load import Project
from exp_platform.ingest.dataset import groups_of
from exp_platform.ingest.dataset_sources import DatasetSource
from exp_platform.ingest.engine_errors import is_of_the_store, reason_of
from exp_platform.ingest.mapping import MissingColumnError, WrongTypeError, source_expression
from exp_platform.ingest.problems import Problem
from exp_platform.ingest.raw_files import RawFile
from exp_platform.ingest.result import ReadResult
from exp_platform.ingest.shape import event_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

MOST_FILES = 200  # that are tried one by one
Sources = Sequence[tuple[DatasetSource, Collection[str]]]


def failing_expression(
    spark: SparkSession, project: Project, sources: Sources, files: Sequence[RawFile]
) -> Problem | None:
    """The first expression of any source that fails on a value; None when all of them can be worked out."""
    for source, own in sources:
        mine = [file for file in files if file.path in own]
        for key in source.texts:
            if (reason := _reason(spark, project, source, mine, key)) is not None:
                return _problem(spark, project, source, mine, key, reason)
    return None


def _problem(
    spark: SparkSession, project: Project, source: DatasetSource, files: list[RawFile], key: str, reason: str
) -> Problem:
    place = source.location
    for file in files[:MOST_FILES]:
        if (found := _reason(spark, project, source, [file], key)) is not None:
            place, reason = file.path, found
            break
    shown = f"{key} ({source.texts[key]}): {reason.rstrip('.')}"
    what = (
        f"a mapping expression fails on a value: {shown}; use try_cast, try_to_timestamp or a condition, so that the "
        "row is refused by itself instead"
    )
    return Problem(source.dataset, "columns have their type", place, what)


def _reason(spark: SparkSession, project: Project, source: DatasetSource, files: list[RawFile], key: str) -> str | None:
    """The engine's sentence when one part of the mapping fails on these files; None where it does not."""
    try:
        for frame, expression in _frames(spark, project, source, files, key):
            frame.select(F.max(F.hash(expression))).collect()
    except (MissingColumnError, WrongTypeError):
        return None  # another check says so
    except PySparkException as error:
        return None if is_of_the_store(str(error)) else reason_of(error)
    return None


def _frames(
    spark: SparkSession, project: Project, source: DatasetSource, files: list[RawFile], key: str
) -> Iterator[tuple[DataFrame, Column]]:
    """For each group of files the rows that an expression sees, and the expression; earlier parts have shaped them."""
    text = source.texts[key]
    before = replace(source, metrics=())
    if key in ("explode", "where"):
        before = replace(before, where=None)
    if key == "explode":
        before = replace(before, explode=None)
    for group in groups_of(spark, project, source, files, ReadResult()):
        frame = event_rows(group.frame, before)
        yield frame, source_expression(frame, key, {key: text})
