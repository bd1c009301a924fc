"""Data files written by Arrow: a file for each partition, described as Iceberg's own writer would."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import DateType, StringType
from tests.conftest import make_project

from exp_platform.errors import FencedConflict
from exp_platform.lake import arrow_files
from exp_platform.lake.arrow_files import Written, _write, append_files, transformed
from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.row_audit import broken_inside
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema, iceberg_type

UNITS = TABLES["gold.fct_experiment_unit_outcomes"]
FIFTH, SIXTH = date(2026, 1, 5), date(2026, 1, 6)


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> IcebergTable:
    return ensure_tables(make_project(tmp_path_factory.mktemp("files")), names=(UNITS.name,))[UNITS.name]


def rows(*users: str, day: date = FIFTH, value: float | None = 1.0, **columns: Any) -> pa.RecordBatch:
    one = {
        "experiment_id": "exp_one",
        "variant_id": "control",
        "anchor_utc": datetime(2026, 1, 5, 10, tzinfo=UTC),
        "cohort_date": day,
        "unit_bucket": 3,
        "metrics": [("revenue", value), ("visits", None)],
        "covariates": [("revenue", 2.0)],
        "did_pre": [],
        "mature": [("revenue", True)],
        "event_counts": None,
        "dimensions": [],
    } | columns
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(UNITS)])
    return pa.RecordBatch.from_pylist([one | {"user_id": user} for user in users], schema)


def written(handle: IcebergTable, *batches: pa.RecordBatch) -> tuple[list[DataFile], dict[tuple[str, str], int]]:
    answers = [row for a in _write(batches, UNITS, handle.metadata, handle.io, None) for row in a.to_pylist()]
    files = [pickle.loads(row["file"]) for row in answers if row["file"] is not None]
    return files, {(row["kind"], row["name"]): row["rows"] for row in answers if row["file"] is None}


def test_buckets_are_those_of_iceberg() -> None:
    users = ["", "a", "user_00000001", "ä", "x" * 500, *map(str, range(200))]
    expected = [BucketTransform(4).transform(StringType())(user) for user in users]
    assert transformed(BucketTransform(4), StringType(), users) == expected
    assert set(expected) == {0, 1, 2, 3}
    assert transformed(IdentityTransform(), DateType(), [FIFTH]) == [FIFTH]


def test_each_partition_gets_one_file_across_batches_and_all_rows_come_back(handle: IcebergTable) -> None:
    users = [f"u{i}" for i in range(60)]
    bucket = dict(zip(users, transformed(BucketTransform(4), StringType(), users), strict=True))
    zero, one = ([user for user in users if bucket[user] == b] for b in (0, 1))
    batches = [rows(*zero[:5]), rows(*zero[5:]), rows(*zero[:3], day=SIXTH), rows(*one, day=SIXTH)]
    files, counts = written(handle, *batches)
    days = (FIFTH.toordinal() - date(1970, 1, 1).toordinal(), SIXTH.toordinal() - date(1970, 1, 1).toordinal())
    assert [(tuple(file.partition._data), file.record_count) for file in files] == [
        (("exp_one", 0, days[0]), len(zero)),
        (("exp_one", 0, days[1]), 3),
        (("exp_one", 1, days[1]), len(one)),
    ]
    assert not any(counts.values())

    append_files(handle, Written(tuple(files), handle.spec().spec_id, {}, {}), "main")
    handle.refresh()
    found = handle.scan().to_arrow()
    assert found.num_rows == len(zero) + 3 + len(one)
    assert dict(found["metrics"][0].as_py()) == {"revenue": 1.0, "visits": None}
    assert found["event_counts"].null_count == found.num_rows
    of_day = handle.scan(row_filter=f"cohort_date = '{SIXTH}' and experiment_id = 'exp_one'")
    assert len(list(of_day.plan_files())) == 2, "files of other dates are not opened"
    assert handle.scan(row_filter=f"user_id = '{zero[0]}'").to_arrow().num_rows == 2


def test_a_large_partition_is_cut_into_files(handle: IcebergTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_files, "BYTES", 2 * rows(*["same"] * 6).nbytes)
    files, _ = written(handle, *(rows(*["same"] * 6) for _ in range(5)))
    assert [file.record_count for file in files] == [12, 12, 6]


def test_a_batch_with_a_null_in_a_required_column_is_counted_and_not_written(handle: IcebergTable) -> None:
    files, counts = written(handle, rows("a", "b", metrics=None), rows("a", variant_id=None))
    assert files == []
    assert counts == {("null", "metrics"): 2, ("null", "variant_id"): 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_rows_with_a_number_that_is_none_are_counted_in_slices_too(value: float) -> None:
    both = pa.Table.from_batches([rows("a", value=value), rows("b", "c"), rows("d", value=value)]).combine_chunks()
    (batch,) = both.to_batches()
    counted = [broken_inside(batch.slice(first, 2), UNITS)["metrics is finite"] for first in (0, 1, 2, 3)]
    assert counted == [1, 0, 1, 1]
    twice = rows("a", metrics=[("x", value), ("y", value)])
    assert broken_inside(twice, UNITS) == {"metrics is finite": 1, "covariates is finite": 0, "did_pre is finite": 0}


def test_files_of_a_task_that_is_tried_again_have_other_names(handle: IcebergTable) -> None:
    first, again = (written(handle, rows("a"))[0][0].file_path for _ in range(2))
    assert first != again and Path(first.removeprefix("file://")).exists()


def test_files_of_another_partitioning_are_not_appended(handle: IcebergTable) -> None:
    files, _ = written(handle, rows("a"))
    before = handle.metadata.current_snapshot_id
    with pytest.raises(FencedConflict, match="its partitioning was changed while the rows were written"):
        append_files(handle, Written(tuple(files), handle.spec().spec_id + 1, {}, {}), "main")
    handle.refresh()
    assert handle.metadata.current_snapshot_id == before


def test_a_column_of_another_version_of_the_table_is_null_in_new_rows(tmp_path: Path) -> None:
    handle = ensure_tables(make_project(tmp_path), names=(UNITS.name,))[UNITS.name]
    with handle.update_schema() as update:
        update.add_column("partials", iceberg_type("list<long>"), required=False)
    files, _ = written(handle, rows("a"))
    append_files(handle, Written(tuple(files), handle.spec().spec_id, {}, {}), "main")
    found = handle.scan().to_arrow()
    assert (found["user_id"].to_pylist(), found["partials"].to_pylist()) == (["a"], [None])
