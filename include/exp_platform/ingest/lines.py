"""Read files of lines, csv and json: a line that is no row keeps its text in `_corrupt`."""

from __future__ import annotations

import csv
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from exp_platform.config.load import Project
from exp_platform.ingest.dataset_sources import DatasetSource, opened
from exp_platform.ingest.engine_errors import is_of_the_store, reason_of
from exp_platform.ingest.packed import refuse_endless_line
from exp_platform.ingest.problems import Problem
from exp_platform.ingest.raw_files import RawFile
from exp_platform.ingest.result import URI, Group, ReadResult
from exp_platform.ingest.row_rules import CORRUPT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def csv_groups(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[Group]:
    """Groups of files with one header line each, because Spark would read all files by the first file's header."""
    by_header: dict[str, list[str]] = defaultdict(list)
    file_system, places = opened(project, source, [file.path for file in files])
    sizes = {file.path: file.size for file in files}
    for path, inner in places:
        try:
            refuse_endless_line(file_system, inner, sizes[path])
            with file_system.open_input_stream(inner, compression=None) as stream:
                first = first_line_of(stream.read(65536), path)
                by_header[first if source.header else shape_of(first, source.delimiter)].append(path)
        except (pa.ArrowException, OSError, EOFError, ValueError, zlib.error) as error:
            if is_of_the_store(str(error)):
                raise
            what = f"cannot be read as CSV ({str(error).splitlines()[0]})"
            result.problems.append(Problem(source.dataset, "files can be read", path, what))
    groups = []
    for header, paths in sorted(by_header.items(), key=lambda item: item[1]):
        if not header:
            continue  # an empty file has no rows
        options = {"header": str(source.header).lower(), "sep": source.delimiter}
        lines = spark.sparkContext.parallelize([header], 1)
        names = spark.read.options(**options).csv(lines).columns  # type: ignore[arg-type]
        schema = StructType([StructField(name, StringType()) for name in (*names, CORRUPT)])
        reader = spark.read.schema(schema).options(**options).option("enforceSchema", "true")
        reader = reader.option("columnNameOfCorruptRecord", CORRUPT).option("columnPruning", "false")
        frame = reader.option("__globPaths__", "false").csv(paths)
        groups.append(Group(frame.withColumn(URI, F.col("_metadata.file_path")), tuple(paths)))
    return groups


def shape_of(line: str, delimiter: str) -> str:
    """A line with as many empty fields as the given one: files without a header are read together by their width."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter[0])) if line else []
    except csv.Error as error:
        raise ValueError(f"its first line cannot be split into fields: {error}") from None
    return delimiter.join("_" for _ in fields)


def first_line_of(head: bytes, path: str) -> str:
    if path.endswith(".gz") and head:
        head = zlib.decompressobj(wbits=31).decompress(head, 65536)
    return head.decode("utf-8-sig", errors="strict" if len(head) < 4 else "ignore").split("\n", 1)[0].rstrip("\r")


def _endless_lines(
    project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[Problem]:
    """The problems of packed files with an endless line, which the result has from now on."""
    file_system, places = opened(project, source, [file.path for file in files])
    found = []
    for file, (path, inner) in zip(files, places, strict=True):
        try:
            refuse_endless_line(file_system, inner, file.size)
        except (ValueError, zlib.error) as error:
            found.append(Problem(source.dataset, "files can be read", path, f"cannot be read as JSON ({error})"))
    result.problems += found
    return found


def json_groups(
    spark: SparkSession, project: Project, source: DatasetSource, files: Sequence[RawFile], result: ReadResult
) -> list[Group]:
    """All files as one group; the columns are those of any file, and each line is one JSON object."""
    paths = [file.path for file in files if file.size]  # an empty file has no rows
    if not paths or _endless_lines(project, source, files, result):
        return []
    reader = spark.read.option("primitivesAsString", "true").option("columnNameOfCorruptRecord", CORRUPT)
    try:
        inferred = reader.option("__globPaths__", "false").json(paths).schema
    except AnalysisException as error:
        what = f"cannot be read as JSON ({reason_of(error)})"
        result.problems.append(Problem(source.dataset, "files can be read", source.location, what))
        return []
    known = [f for f in inferred.fields if f.name != CORRUPT]
    schema = StructType([*known, StructField(CORRUPT, StringType())])
    frame = spark.read.schema(schema).option("columnNameOfCorruptRecord", CORRUPT)
    read = frame.option("__globPaths__", "false").json(paths)
    return [Group(read.withColumn(URI, F.col("_metadata.file_path")), tuple(paths))]
