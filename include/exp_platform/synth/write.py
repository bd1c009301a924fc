"""Write generated datasets as Parquet files of the raw zone, and check the files against the contracts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from exp_platform.errors import ContractViolation
from exp_platform.schemas import DATASETS, contract_columns, event_time_column, load_schema, required_columns
from exp_platform.synth.folder import Folder
from exp_platform.synth.frames import Frames
from exp_platform.synth.generation import SynthPlan

_ARROW = {
    "string": (pa.string(),),
    "double": (pa.float64(),),
    "timestamptz": (pa.timestamp("us", tz="UTC"),),
}
USERS_PER_TASK = 100_000


def write_frames(frames: Frames, folder: Folder, plan: SynthPlan) -> None:
    """Write one Parquet file per dataset and day, with the contract's columns."""
    spark = frames.exposures.sparkSession
    tasks = max(
        int(spark.conf.get("spark.sql.shuffle.partitions") or 1), math.ceil(plan.scenario.n_users / USERS_PER_TASK)
    )
    with _microseconds(spark):
        for name, frame in frames.present().items():
            write_dataset(frame, name, folder, tasks)


@contextmanager
def _microseconds(spark: SparkSession) -> Iterator[None]:
    """Make Spark write Parquet timestamps in microseconds, as the contract has them, instead of int96."""
    key = "spark.sql.parquet.outputTimestampType"
    before = spark.conf.get(key) or "INT96"
    spark.conf.set(key, "TIMESTAMP_MICROS")
    try:
        yield
    finally:
        spark.conf.set(key, before)


def write_dataset(frame: DataFrame, dataset: str, folder: Folder, tasks: int) -> None:
    """Write `<dataset>/dt=YYYY-MM-DD/*.parquet`, one file per day, sorted by user and time."""
    (
        frame.select(*contract_columns(dataset), "dt")
        .repartition(tasks, "dt")
        .sortWithinPartitions("dt", "user_id", event_time_column(dataset))
        .write.mode("overwrite")
        .option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        .partitionBy("dt")
        .parquet(f"{folder.url}/{dataset}")
    )


def count_rows(folder: Folder) -> dict[str, int]:
    """Dataset -> number of rows, from the footers; a file that can't be read counts as 0 rows."""
    rows = {}
    for dataset in DATASETS:
        rows[dataset] = 0
        for path in _parquet_files(folder, dataset):
            try:
                rows[dataset] += _footer(folder, path).num_rows
            except pa.ArrowInvalid:
                continue
    return rows


def check_written(folder: Folder, plan: SynthPlan) -> None:
    """Raise ContractViolation unless columns, types, nulls and words of every file are as the contracts have them."""
    for dataset in DATASETS:
        expected = contract_columns(dataset)
        for path in _parquet_files(folder, dataset):
            with folder.fs.open_input_file(path) as source, pq.ParquetFile(source) as file:
                found = {field.name: field.type for field in file.schema_arrow}
                if list(found) != list(expected):
                    raise ContractViolation(
                        f"{path}: columns: found {', '.join(found)}; expected {', '.join(expected)}"
                    )
                for column, kind in expected.items():
                    if found[column] not in _ARROW[kind]:
                        raise ContractViolation(f"{path}: {column}: found {found[column]}, expected {kind}")
                _check_nulls(path, dataset, file.metadata)
                _check_words(path, _allowed_words(dataset, plan), file)


def _check_nulls(path: str, dataset: str, footer: pq.FileMetaData) -> None:
    required = required_columns(dataset)
    for group in range(footer.num_row_groups):
        for index in range(footer.num_columns):
            chunk = footer.row_group(group).column(index)
            nulls = chunk.statistics.null_count if chunk.statistics is not None else 0
            if nulls and chunk.path_in_schema in required:
                raise ContractViolation(
                    f"{path}: {chunk.path_in_schema}: found {nulls} nulls, the contract allows none"
                )


def _allowed_words(dataset: str, plan: SynthPlan) -> dict[str, set[str]]:
    allowed = {"experiment_id": {plan.experiment_id}}
    for column, spec in load_schema(dataset)["properties"].items():
        if "enum" in spec:
            allowed[column] = set(spec["enum"])
        if spec.get("x-must-be") == "variant":
            allowed[column] = {v.id for v in plan.experiment.live_variants}
    return allowed


def _check_words(path: str, allowed: dict[str, set[str]], file: pq.ParquetFile) -> None:
    for batch in file.iter_batches(columns=list(allowed)):
        for column, words in allowed.items():
            unknown = set(pc.unique(batch.column(column)).to_pylist()) - words
            if unknown:
                shown = ", ".join(sorted(map(str, unknown)))
                raise ContractViolation(f"{path}: {column}: found {shown}; allowed: {', '.join(sorted(words))}")


def _parquet_files(folder: Folder, dataset: str) -> list[str]:
    return [path for path in folder.files(dataset) if path.endswith(".parquet")]


def _footer(folder: Folder, path: str) -> pq.FileMetaData:
    with folder.fs.open_input_file(path) as source:
        return pq.read_metadata(source)
