"""Rows in Arrow batches: files give what Spark reads; what files alone do not tell is left to Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.lakes import CANONICAL, ONE, TWO, Lake

from exp_platform.lake.batches import FileBatches, FrameBatches, parts_of, rows_of_files
from exp_platform.lake.tables import TABLES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

COLUMNS = ("user_id", "variant_id", "assignment_time_utc", "is_valid")


def users(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A kernel that returns the part's users, and how many columns it was given."""
    for batch in batches:
        width = pa.array([batch.num_columns] * len(batch), pa.int32())
        yield pa.RecordBatch.from_arrays([batch.column("user_id"), width], names=["user_id", "width"])


def of_files(lake: Lake, experiment_id: str, columns: tuple[str, ...] = COLUMNS) -> FileBatches | None:
    handle = lake.handle(CANONICAL)
    snapshot = handle.current_snapshot()
    assert snapshot is not None
    key = {"experiment_id": experiment_id}
    return rows_of_files(lake.spark, handle, TABLES[CANONICAL], snapshot.snapshot_id, key, columns)


def test_files_give_the_rows_of_the_experiment_alone(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 50), ONE)
    lake.publish(CANONICAL, lake.canonical(TWO, 7), TWO)
    found = of_files(lake, ONE)
    assert found is not None and found.rows == 50
    rows = found.collect(users, "user_id string, width int")
    assert sorted(rows["user_id"].to_pylist(), key=int) == [str(i) for i in range(50)]
    frame = lake.spark.table(f"iceberg.{CANONICAL}").where(f"experiment_id = '{ONE}'").select(*COLUMNS)
    same = FrameBatches(frame)
    assert same.rows == 50
    by_user = [("user_id", "ascending")]
    assert same.collect(users, "user_id string, width int").sort_by(by_user) == rows.sort_by(by_user)


def test_an_experiment_without_rows_gives_an_empty_answer(lake: Lake) -> None:
    found = of_files(lake, "exp_nobody")
    assert found is not None and found.rows == 0
    assert found.collect(users, "user_id string, width int").num_rows == 0


def test_a_column_that_a_file_does_not_have_is_null(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 3), ONE, again=True)
    found = of_files(lake, ONE)
    assert found is not None
    younger = FileBatches(found.session, found.parts, found.io, found.schema.append(pa.field("later", pa.int64())), 3)

    def later(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_arrays([batch.column("later")], names=["later"])

    assert younger.collect(later, "later bigint")["later"].to_pylist() == [None] * 3


def test_rows_that_were_deleted_beside_the_files_are_left_to_spark(lake: Lake) -> None:
    lake.publish(CANONICAL, lake.canonical(ONE, 9), ONE, again=True)
    lake.spark.sql(f"ALTER TABLE iceberg.{CANONICAL} SET TBLPROPERTIES ('write.delete.mode'='merge-on-read')")
    lake.spark.sql(f"DELETE FROM iceberg.{CANONICAL} WHERE experiment_id = '{ONE}' AND user_id = '4'")
    assert of_files(lake, ONE) is None


def test_files_are_shared_out_alike_and_none_is_lost() -> None:
    files = {f"f{i}": rows for i, rows in enumerate((900, 10, 400, 300, 200, 10, 0))}
    parts = parts_of(files, cores=1)
    assert sorted(path for part in parts for path in part) == sorted(files)
    assert sorted(sum(files[path] for path in part) for part in parts) == [910, 910]
    assert parts_of({"only": 5}, cores=8) == (("only",),)
    assert parts_of({}, cores=8) == ()


def test_a_python_worker_has_no_archive_on_its_path_and_begins_with_what_its_tasks_need(spark: SparkSession) -> None:
    def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import sys

        loaded = "exp_platform.lake.arrow_files" in sys.modules
        for _ in batches:
            archives = [entry for entry in sys.path_importer_cache if entry.endswith(".zip")]
            yield pa.RecordBatch.from_pydict({"loaded": [loaded], "archives": [",".join(archives)]})

    [row] = spark.range(1, numPartitions=1).mapInArrow(look, "loaded boolean, archives string").collect()
    assert row.loaded
    assert "pyspark" not in row.archives


def test_a_worker_has_set_aside_what_was_loaded_before_it_was_forked(spark: SparkSession) -> None:
    """Spark's workers collect garbage after each task, which is long where all modules are looked through."""

    def set_aside(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import gc

        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"objects": [gc.get_freeze_count()]})

    [row] = spark.range(1).coalesce(1).mapInArrow(set_aside, "objects bigint").collect()
    assert row["objects"] > 50_000
