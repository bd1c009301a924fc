"""Bad input ends in one sentence that names file and rule, with exit 65; nothing new is visible, the old stays."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.ingest_lake import IngestLake, at, make_lake

from exp_platform.errors import ContractViolation

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
TIME = at("2026-01-06T10:00:00")
RUNS = count(1)


@pytest.fixture(scope="module")
def shared_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> IngestLake:
    """An empty lake."""
    return make_lake(spark, tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module")
def fed_once(shared_lake: IngestLake) -> IngestLake:
    """An experiment that has been fed once, by the run `good`."""
    lake = shared_lake.with_experiment("fed_once")
    lake.write_healthy()
    lake.run("good")
    return lake


@pytest.fixture
def lake(fed_once: IngestLake) -> Iterator[IngestLake]:
    """The fed experiment for one blocked run, which leaves its tables as they were; its raw files are put back."""
    kept = fed_once.folder.with_name("kept")
    shutil.copytree(fed_once.folder, kept)  # with their times: a file with another time is read again
    yield fed_once
    shutil.rmtree(fed_once.folder)
    kept.rename(fed_once.folder)


@pytest.fixture
def own_lake(shared_lake: IngestLake, request: pytest.FixtureRequest) -> IngestLake:
    """An experiment of this test alone, fed once."""
    lake = shared_lake.with_experiment(re.sub(r"\W+", "_", request.node.name).lower()[:55])
    lake.write_healthy()
    lake.run("good")
    return lake


def assert_blocked(lake: IngestLake, *words: str, run_id: str = "") -> str:
    """One sentence with the words; earlier events, files and pins are as they were. The run's id is returned."""
    run_id = run_id or f"bad_{next(RUNS)}"
    before = {d: lake.users(d) for d in ("assignments", "exposures", "outcomes")}
    files = lake.rows("ops.ingested_files", "path", "run_id")
    with pytest.raises(ContractViolation) as caught:
        lake.run(run_id)
    sentence = str(caught.value)
    assert caught.value.exit_code == 65
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    assert {d: lake.users(d) for d in before} == before
    assert lake.rows("ops.ingested_files", "path", "run_id") == files
    assert all(lake.refs(d) == [] for d in before), "nothing staged is left behind"
    published = lake.rows("ops.run_manifest", "table", where=f"run_id = '{run_id}' AND role = 'published' AND rows > 0")
    assert set(published) <= {("ops.quarantine",)}
    return run_id


def test_unreadable_files_are_named(lake: IngestLake) -> None:
    good = lake.folder / "outcomes" / "dt=2026-01-06" / "healthy.parquet"
    cut = good.with_name("cut.parquet")
    cut.write_bytes(good.read_bytes()[:200])
    good.with_name("none.parquet").write_bytes(b"")
    run_id = assert_blocked(lake, "outcomes", "cut.parquet", "none.parquet", "cannot be read as Parquet")
    assert lake.findings("outcomes", run_id) == {"files can be read": (False, 2)}


def test_a_file_that_is_damaged_behind_its_footer_is_named(lake: IngestLake) -> None:
    rows = [lake.row("outcomes", f"u{i}", "revenue", float(i), TIME) for i in range(2000)]
    path = lake.write("outcomes", rows, "torn.parquet")
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    path.write_bytes(bytes(content))
    assert_blocked(lake, "outcomes", "torn.parquet", "cannot be read to its end")


def test_an_empty_dataset_is_named(lake: IngestLake) -> None:
    lake.write("outcomes", [], "healthy.parquet")
    run_id = assert_blocked(lake, "outcomes", "no rows")
    assert lake.findings("outcomes", run_id) == {"there are rows": (False, 1)}


def test_a_missing_dataset_is_named(lake: IngestLake) -> None:
    (lake.folder / "exposures" / "dt=2026-01-06" / "healthy.parquet").unlink()
    assert_blocked(lake, f"exposures: {lake.folder}/exposures: no rows")


def test_a_missing_column_is_named_with_those_that_are_there(lake: IngestLake) -> None:
    lake.write("outcomes", [lake.row("outcomes", "u3", "revenue", 1.0, TIME)], "new.parquet", value=None)
    assert_blocked(
        lake, "new.parquet: column 'value' is missing; found: experiment_id, user_id, metric_name, outcome_ts"
    )


def test_columns_in_capitals_are_shown_where_the_contracts_own_are_missing(lake: IngestLake) -> None:
    table = pa.table({"EXPERIMENT_ID": ["x"], "USER_ID": ["u3"], "metric_name": ["revenue"], "outcome_ts": [TIME]})
    lake.write_table("outcomes", table, "new.parquet")
    assert_blocked(
        lake,
        "new.parquet: columns experiment_id, user_id, value are missing; "
        "found: EXPERIMENT_ID, USER_ID, metric_name, outcome_ts",
    )


def test_a_file_that_cannot_be_unpacked_says_why(lake: IngestLake) -> None:
    time = pa.array([2**62], pa.int64()).cast(pa.timestamp("ms", tz="UTC"))  # no microseconds hold it
    columns = {"experiment_id": [lake.experiment_id], "user_id": ["u3"], "metric_name": ["revenue"], "value": [1.0]}
    lake.write_table("outcomes", pa.table(columns | {"outcome_ts": time}), "new.parquet")
    assert_blocked(lake, "new.parquet: cannot be read to its end, although its footer is sound", "long overflow")


@pytest.mark.parametrize(
    ("column", "kind", "value", "said"),
    [
        ("value", pa.string(), "12.5", "column 'value' is string, must be a number"),
        ("user_id", pa.int64(), 7, "column 'user_id' is bigint, must be text"),
        ("outcome_ts", pa.int64(), 7, "column 'outcome_ts' is bigint, must be a time"),
        ("outcome_ts", pa.date32(), date(2026, 1, 6), "column 'outcome_ts' is date, must be a time"),
        ("outcome_ts", pa.time64("us"), time(10), "column 'outcome_ts' is time64[us], must be a time"),
        ("value", pa.decimal256(60, 10), Decimal(1), "column 'value' is decimal256(60, 10), must be a number"),
        ("value", pa.float16(), 1.0, "column 'value' is halffloat, must be a number"),
        ("value", pa.list_(pa.float64()), [1.0], "column 'value' is array<double>, must be a number"),
        ("user_id", pa.binary(), b"u3", "column 'user_id' is binary, must be text"),
    ],
)
def test_a_wrong_type_is_named(lake: IngestLake, column: str, kind: pa.DataType, value: object, said: str) -> None:
    row = {"experiment_id": lake.experiment_id, "user_id": "u3", "metric_name": "revenue", "value": 1.0}
    table = pa.table({c: [v] for c, v in (row | {"outcome_ts": TIME}).items()})
    position = table.column_names.index(column)
    lake.write_table("outcomes", table.set_column(position, column, pa.array([value], kind)), "new.parquet")
    assert_blocked(lake, f"new.parquet: {said}")


def test_too_many_bad_rows_block_and_are_kept_in_the_quarantine(own_lake: IngestLake) -> None:
    lake = own_lake
    bad = [lake.row("assignments", None, f"arm_{i}", TIME, "user") for i in range(3)]
    lake.write("assignments", bad, "bad.parquet")
    assert_blocked(
        lake,
        "bad.parquet: 3 of 5 distinct rows (60%) break a rule, allowed 50%",
        "null_user_id 3, unknown_variant 3",
        run_id="bad",
    )
    assert lake.refused("assignments") == [("null_user_id", 1)] * 3 + [("unknown_variant", 1)] * 3
    assert lake.findings("assignments", "bad")["rows are valid"] == (False, 1)


def test_one_bad_dataset_keeps_the_others_back_and_a_mended_file_lets_the_same_run_pass(own_lake: IngestLake) -> None:
    lake = own_lake
    lake.write("exposures", [lake.row("exposures", "u3", "control", TIME, "user")], "new.parquet")
    path = lake.write(
        "outcomes", [lake.row("outcomes", None, "revenue", float(i), TIME) for i in range(9)], "new.parquet"
    )
    assert_blocked(lake, "null_user_id 9", run_id="bad")
    assert len(lake.refused("outcomes")) == 9
    path.unlink()
    lake.write("outcomes", [lake.row("outcomes", "u3", "revenue", 1.0, TIME)], "new.parquet")
    lake.run("bad")
    assert lake.users("exposures") == ["u1", "u2", "u3"]
    assert lake.users("outcomes") == ["u1", "u2", "u3"]
    assert lake.refused("outcomes") == []


def test_every_dataset_that_is_broken_is_in_the_one_sentence(lake: IngestLake) -> None:
    lake.write("outcomes", [lake.row("outcomes", "u3", "revenue", 1.0, TIME)], "x.parquet", value=None)
    (lake.folder / "exposures" / "x.parquet").write_bytes(b"junk")
    assert_blocked(lake, "outcomes/dt=2026-01-06/x.parquet", "exposures/x.parquet")


@pytest.mark.parametrize("again", ["USER_ID", "user_id"], ids=["in_capitals", "as_it_is"])
def test_a_column_that_is_there_twice_is_named(lake: IngestLake, again: str) -> None:
    columns = {"experiment_id": [lake.experiment_id], "user_id": ["u3"], "metric_name": ["revenue"], "value": [1.0]}
    table = pa.table(columns | {"outcome_ts": [TIME]}).append_column(again, pa.array(["u4"]))
    lake.write_table("outcomes", table, "new.parquet")
    assert_blocked(lake, f"new.parquet: columns user_id, {again} differ in nothing but small and capital letters")


def test_a_folder_that_may_not_be_listed_is_named(lake: IngestLake, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("[Errno 13] Permission denied")

    monkeypatch.setattr("exp_platform.pipelines.examine.list_source", forbidden)
    assert_blocked(lake, f"outcomes: {lake.folder}/outcomes: may not be listed", "Permission denied")
