"""Read a dataset's files into one frame with the contract's columns, or report the problems of each file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import NullType, StructField, StructType

from exp_platform.config.load import Project
from exp_platform.ingest.dataset_sources import DatasetSource, list_source, opened, table_name
from exp_platform.ingest.lines import csv_groups, json_groups
from exp_platform.ingest.mapping import (
    EXPECTED,
    SPARK_TYPES,
    MissingColumnError,
    WrongTypeError,
    contract_columns_from,
    quoted_name,
)
from exp_platform.ingest.parquet import Footer, group_alike, read_footers
from exp_platform.ingest.problems import Problem, Rule, named
from exp_platform.ingest.raw_files import RawFile
from exp_platform.ingest.result import FILE, SHOWN, URI, Group, ReadResult
from exp_platform.ingest.row_rules import CORRUPT
from exp_platform.ingest.shape import event_rows, metric_columns
from exp_platform.ingest.times import check_pattern

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def read_source(
    spark: SparkSession,
    project: Project,
    source: DatasetSource,
    files: Sequence[RawFile],
    paths: Sequence[str] | None = None,
    *,
    show: bool = False,
) -> ReadResult:
    """Check every file, then read all of them; with a bad file there is no frame, and all problems are reported.

    `paths` are those that `_file` counts, where they are more than the files of this source. With `show` each event
    has the source's row beside it.
    """
    result = ReadResult()
    check_pattern(spark, source.timestamp_format)
    groups = groups_of(spark, project, source, files, result)
    if show:
        groups = [replace(group, frame=group.frame.withColumn(SHOWN, _as_written(group.frame))) for group in groups]
    mapped = [one for group in groups if (one := _mapped(source, group, result)) is not None]
    if not result.problems and not mapped:
        fields = ", ".join(f"{column} {SPARK_TYPES[kind]}" for column, kind in source.types.items())
        result.frame = spark.createDataFrame([], f"{fields}, {FILE} int")
    elif not result.problems:
        together = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), mapped)
        result.frame = _with_file_index(spark, together, list(paths or [file.path for file in files]))
    return result


def read_sources(
    spark: SparkSession,
    project: Project,
    sources: Sequence[tuple[DatasetSource, Collection[str]]],
    files: Sequence[RawFile],
) -> ReadResult:
    """The files of several sources as one frame; each source comes with the paths that it reads."""
    paths = [file.path for file in files]
    total, frames = ReadResult(), []
    for source, own in sources:
        one = read_source(spark, project, source, [file for file in files if file.path in own], paths)
        total.problems += one.problems
        for path, rows in one.rows.items():
            total.rows[path] = total.rows.get(path, 0) + rows
        for column, where in one.extra_columns.items():
            total.extra_columns.setdefault(column, []).extend(where)
        if one.frame is not None:
            frames.append(one.frame)
    if not total.problems:
        total.frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
    return total


def read_all(spark: SparkSession, project: Project, sources: Sequence[DatasetSource]) -> ReadResult:
    """Every present file of several sources as one frame."""
    listed = [(source, list_source(project, source, lambda: spark)) for source in sources]
    files = {file.path: file for _, found in listed for file in found}
    paths = [(source, {file.path for file in found}) for source, found in listed]
    return read_sources(spark, project, paths, [files[path] for path in sorted(files)])


def groups_of(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[Group]:
    """The source's files as they are, with the keys that their folders spell."""
    if not files:
        return []  # all of them have vanished
    if source.format == "iceberg":
        snapshot_id = files[0].fingerprint.split(".")[0]
        frame = spark.read.option("versionAsOf", snapshot_id).table(table_name(source.location))
        return [Group(frame.withColumn(URI, F.lit(files[0].path)), (files[0].path,))]
    if source.format == "parquet":
        groups = _parquet_groups(spark, project, source, files, result)
    elif source.format == "csv":
        groups = csv_groups(spark, project, source, files, result)
    else:
        groups = json_groups(spark, project, source, files, result)
    return [_with_folder_keys(spark, source, group) for group in groups]


def _with_folder_keys(spark: SparkSession, source: DatasetSource, group: Group) -> Group:
    """The group with a column for each folder key that the mapping reads; a file's own column of the name wins."""
    keys = [source.folder_keys(path) for path in group.paths]
    names = [name for name in dict.fromkeys(name for one in keys for name in one) if name not in group.frame.columns]
    if not names:
        return group
    columns = {name: pa.array([one.get(name) for one in keys], pa.string()) for name in names}
    table = spark.createDataFrame(pa.table({URI: _uris(spark, group.paths)} | columns))
    return replace(group, frame=group.frame.join(F.broadcast(table), URI))


def _mapped(source: DatasetSource, group: Group, result: ReadResult) -> DataFrame | None:
    try:
        frame = event_rows(group.frame, source)
        given = metric_columns() if source.metrics else {}
        made = contract_columns_from(frame, source, given, group.nanoseconds)
    except (MissingColumnError, WrongTypeError) as error:
        rule: Rule = "columns are there" if isinstance(error, MissingColumnError) else "columns have their type"
        result.problems += [Problem(source.dataset, rule, path, str(error)) for path in group.paths]
        return None
    if CORRUPT in frame.columns:
        made[CORRUPT] = F.col(CORRUPT)
    if SHOWN in frame.columns:
        made[SHOWN] = F.col(SHOWN)
    return frame.select(*(column.alias(name) for name, column in made.items()), F.col(URI))


def _as_written(frame: DataFrame) -> Column:
    """A row of the source as JSON, or the line that is no row."""
    row = F.to_json(F.struct(*(quoted_name(name) for name in frame.columns if name not in (URI, CORRUPT))))
    return F.coalesce(CORRUPT, row) if CORRUPT in frame.columns else row


def _with_file_index(spark: SparkSession, frame: DataFrame, paths: list[str]) -> DataFrame:
    """Replace each row's file path by its index, so that millions of copies of a long path are not shuffled."""
    if len(paths) == 1:
        return frame.drop(URI).withColumn(FILE, F.lit(0))
    # An Arrow table is part of the plan; a list would be one more Spark job of each query.
    index = spark.createDataFrame(pa.table({FILE: pa.array(range(len(paths)), pa.int32()), URI: _uris(spark, paths)}))
    return frame.join(F.broadcast(index), URI).drop(URI)


def _uris(spark: SparkSession, paths: Sequence[str]) -> list[str]:
    """The paths as Spark names the file of a row."""
    jvm = spark._jvm
    assert jvm is not None
    named = jvm.org.apache.hadoop.fs.Path  # each dot is a question to the JVM
    return [named(_with_scheme(path)).toUri().toString() for path in paths]


def _with_scheme(path: str) -> str:
    return path if "://" in path else f"file:{path}"


# --- Parquet -------------------------------------------------------------------------------------------------------


def _parquet_groups(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[Group]:
    footers, broken = read_footers(*opened(project, source, [file.path for file in files]))
    result.problems += [
        Problem(source.dataset, "files can be read", path, f"cannot be read as Parquet ({reason})")
        for path, reason in broken.items()
    ]
    result.rows = {footer.path: footer.rows for footer in footers}
    there = set.intersection(*(set(footer.columns) for footer in footers)) if footers else set()
    names = source.needed_columns(sorted(there | set(source.types)))
    if not source.is_mapped:
        for footer in footers:
            for extra in sorted(footer.columns.keys() - source.types.keys()):
                result.extra_columns.setdefault(extra, []).append(footer.path)
    refused = {footer.path: _footer_problems(source, footer, names) for footer in footers}
    result.problems += [problem for problems in refused.values() for problem in problems]
    sound = [footer for footer in footers if not refused[footer.path]]
    return [_parquet_group(spark, group, names) for group in group_alike(sound, names)]


def _footer_problems(source: DatasetSource, footer: Footer, names: list[str] | None) -> list[Problem]:
    """Problems of one file's columns: missing, ambiguous by upper and lower case, or of a type Spark can't read."""
    problems = []
    if alike := footer.not_told_apart(names):
        what = f"columns {named(alike)} differ in nothing but small and capital letters; keep one"
        problems.append(Problem(source.dataset, "columns are there", footer.path, what))
    given = {*footer.columns, *source.folder_keys(footer.path), *source.defaults}
    if missing := [c for c in source.own_names if c not in given]:
        gone = f"column '{missing[0]}' is" if len(missing) == 1 else f"columns {', '.join(missing)} are"
        there = (*footer.names, *source.folder_keys(footer.path))
        what = f"{gone} missing; found: {named(there) or 'none'}"
        problems.append(Problem(source.dataset, "columns are there", footer.path, what))
    for column, kind in source.types.items():
        found = None if column in source.constants else footer.columns.get(source.columns.get(column, column))
        if found is not None and found.spark is None:
            what = str(WrongTypeError(column, found.shown, EXPECTED[kind]))
            problems.append(Problem(source.dataset, "columns have their type", footer.path, what))
    return problems


def _parquet_group(spark: SparkSession, footers: list[Footer], names: list[str] | None) -> Group:
    columns = {n: c for n, c in footers[0].columns.items() if names is None or n in names}
    readable = {n: c for n, c in columns.items() if c.spark is not None and not isinstance(c.spark, NullType)}
    schema = StructType([StructField(name, column.spark) for name, column in readable.items() if column.spark])
    nanoseconds = frozenset(name for name, column in columns.items() if column.is_nanoseconds)
    if nanoseconds:
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    paths = tuple(footer.path for footer in footers)
    frame = spark.read.schema(schema).option("__globPaths__", "false").parquet(*paths)
    frame = frame.select(*(quoted_name(name) for name in readable), F.col("_metadata.file_path").alias(URI))
    for name, column in columns.items():
        if isinstance(column.spark, NullType):
            frame = frame.withColumn(name, F.lit(None))
    return Group(frame, paths, nanoseconds)
