"""Read a dataset's files into one frame with the contract's columns, or report the problems of each file."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F
from pyspark.sql.types import NullType, StringType, StructField, StructType

from exp_platform.config.load import Project
from exp_platform.ingest.faults import is_of_the_store
from exp_platform.ingest.files import RawFile
from exp_platform.ingest.mapping import (
    EXPECTED,
    SPARK_TYPES,
    MissingColumnError,
    WrongTypeError,
    contract_columns_from,
    quoted_name,
    source_expression,
)
from exp_platform.ingest.parquet import Footer, group_alike, read_footers
from exp_platform.ingest.problems import Problem, Rule
from exp_platform.ingest.rules import CORRUPT
from exp_platform.ingest.source import DatasetSource, opened, table_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

URI, FILE = "_source_uri", "_file"


@dataclass
class ReadResult:
    """The read rows: contract columns, `_unparsed_<column>`, `_corrupt`, and `_file`, the index of the row's file."""

    frame: DataFrame | None = None
    rows: dict[str, int] = field(default_factory=dict)  # path -> number of rows, for files with a footer
    problems: list[Problem] = field(default_factory=list)
    extra_columns: dict[str, list[str]] = field(default_factory=dict)  # column outside the contract -> its files


@dataclass(frozen=True)
class _Group:
    """Files that are read with one schema."""

    frame: DataFrame
    paths: tuple[str, ...]
    nanoseconds: frozenset[str] = frozenset()


def read_source(spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile]) -> ReadResult:
    """Check every file, then read all of them; with a bad file there is no frame, and all problems are reported."""
    result = ReadResult()
    groups: list[_Group] = []
    if not files:
        pass  # all of them have vanished
    elif source.format == "parquet":
        groups = _parquet_groups(spark, project, source, files, result)
    elif source.format == "iceberg":
        snapshot_id = files[0].fingerprint.split(".")[0]
        frame = spark.read.option("versionAsOf", snapshot_id).table(table_name(source.location))
        groups = [_Group(frame.withColumn(URI, F.lit(files[0].path)), (files[0].path,))]
    elif source.format == "csv":
        groups = _csv_groups(spark, project, source, files, result)
    else:
        groups = _json_groups(spark, files, result, source)
    mapped = [one for group in groups if (one := _to_contract(source, group, result)) is not None]
    if not result.problems and not mapped:
        fields = ", ".join(f"{column} {SPARK_TYPES[kind]}" for column, kind in source.types.items())
        result.frame = spark.createDataFrame([], f"{fields}, {FILE} int")
    elif not result.problems:
        together = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), mapped)
        result.frame = _with_file_index(spark, together, [file.path for file in files])
    return result


def _to_contract(source: DatasetSource, group: _Group, result: ReadResult) -> DataFrame | None:
    frame = group.frame
    try:
        if source.where is not None:
            frame = frame.where(source_expression(frame, "where", {"where": source.where}))
        made = contract_columns_from(
            frame,
            source.types,
            source.columns,
            source.constants,
            lenient=source.is_mapped,
            nanoseconds=group.nanoseconds,
        )
    except (MissingColumnError, WrongTypeError) as error:
        rule: Rule = "columns are there" if isinstance(error, MissingColumnError) else "columns have their type"
        result.problems += [Problem(source.dataset, rule, path, str(error)) for path in group.paths]
        return None
    if CORRUPT in frame.columns:
        made[CORRUPT] = F.col(CORRUPT)
    return frame.select(*(column.alias(name) for name, column in made.items()), F.col(URI))


def _with_file_index(spark: SparkSession, frame: DataFrame, paths: list[str]) -> DataFrame:
    """Replace each row's file path by its index, so that millions of copies of a long path are not shuffled."""
    if len(paths) == 1:
        return frame.drop(URI).withColumn(FILE, F.lit(0))
    jvm = spark._jvm
    assert jvm is not None
    uris = [jvm.org.apache.hadoop.fs.Path(_with_scheme(path)).toUri().toString() for path in paths]
    index = spark.createDataFrame(list(enumerate(uris)), f"{FILE} int, {URI} string")
    return frame.join(F.broadcast(index), URI).drop(URI)


def _with_scheme(path: str) -> str:
    return path if "://" in path else f"file:{path}"


# --- Parquet -------------------------------------------------------------------------------------------------------


def _parquet_groups(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[_Group]:
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
        what = f"columns {', '.join(alike)} differ in nothing but small and capital letters; keep one"
        problems.append(Problem(source.dataset, "columns are there", footer.path, what))
    same_name = [c for c in source.types if c not in source.constants and c not in source.columns]
    if missing := [c for c in same_name if c not in footer.columns]:
        gone = f"column '{missing[0]}' is" if len(missing) == 1 else f"columns {', '.join(missing)} are"
        what = f"{gone} missing; found: {', '.join(footer.names) or 'none'}"
        problems.append(Problem(source.dataset, "columns are there", footer.path, what))
    for column, kind in source.types.items():
        found = None if column in source.constants else footer.columns.get(source.columns.get(column, column))
        if found is not None and found.spark is None:
            what = str(WrongTypeError(column, found.shown, EXPECTED[kind]))
            problems.append(Problem(source.dataset, "columns have their type", footer.path, what))
    return problems


def _parquet_group(spark: SparkSession, footers: list[Footer], names: list[str] | None) -> _Group:
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
    return _Group(frame, paths, nanoseconds)


# --- text ----------------------------------------------------------------------------------------------------------


def _csv_groups(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[_Group]:
    """Groups of files with one header line each, because Spark would read all files by the first file's header."""
    by_header: dict[str, list[str]] = defaultdict(list)
    file_system, places = opened(project, source, [file.path for file in files])
    for path, inner in places:
        try:
            with file_system.open_input_stream(inner, compression=None) as stream:
                by_header[_first_line_of(stream.read(65536), path)].append(path)
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            if is_of_the_store(str(error)):
                raise
            what = f"cannot be read as CSV ({str(error).splitlines()[0]})"
            result.problems.append(Problem(source.dataset, "files can be read", path, what))
    groups = []
    for header, paths in sorted(by_header.items(), key=lambda item: item[1]):
        if not header:
            continue  # an empty file has no rows
        names = spark.read.option("header", "true").csv(spark.sparkContext.parallelize([header], 1)).columns  # type: ignore[arg-type]
        schema = StructType([StructField(name, StringType()) for name in (*names, CORRUPT)])
        reader = spark.read.schema(schema).option("header", "true").option("enforceSchema", "true")
        reader = reader.option("columnNameOfCorruptRecord", CORRUPT).option("columnPruning", "false")
        frame = reader.option("__globPaths__", "false").csv(paths)
        groups.append(_Group(frame.withColumn(URI, F.col("_metadata.file_path")), tuple(paths)))
    return groups


def _first_line_of(head: bytes, path: str) -> str:
    if path.endswith(".gz") and head:
        head = zlib.decompressobj(wbits=31).decompress(head, 65536)
    return head.decode("utf-8-sig", errors="strict" if len(head) < 4 else "ignore").split("\n", 1)[0].rstrip("\r")


def _json_groups(
    spark: SparkSession, files: Sequence[RawFile], result: ReadResult, source: DatasetSource
) -> list[_Group]:
    """All files as one group; the columns are those of any file, and each line is one JSON object."""
    paths = [file.path for file in files if file.size]  # an empty file has no rows
    if not paths:
        return []
    reader = spark.read.option("primitivesAsString", "true").option("columnNameOfCorruptRecord", CORRUPT)
    try:
        inferred = reader.option("__globPaths__", "false").json(paths).schema
    except AnalysisException as error:
        what = f"cannot be read as JSON ({str(error).splitlines()[0]})"
        result.problems.append(Problem(source.dataset, "files can be read", source.location, what))
        return []
    known = [f for f in inferred.fields if f.name != CORRUPT]
    schema = StructType([*known, StructField(CORRUPT, StringType())])
    frame = spark.read.schema(schema).option("columnNameOfCorruptRecord", CORRUPT)
    read = frame.option("__globPaths__", "false").json(paths)
    return [_Group(read.withColumn(URI, F.col("_metadata.file_path")), tuple(paths))]
