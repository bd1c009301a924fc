"""Rows that nobody expects, in Parquet, CSV and JSON: each is held as it is or in the quarantine, and none is lost."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.ingest_lake import IngestLake, at, make_lake

from exp_platform.errors import ContractViolation

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
TIME = at("2026-01-06T10:00:00")
IDS = {
    "of a megabyte": "x" * 2**20,
    "with control characters": "a\x00b\x1b[31m\r\n\t",
    "from right to left": "\u202euser\u202c",
    "of commas and quotes": 'a,"b"\';--',
    "of markup": "<script>alert(1)</script>",
    "with a lone accent": "e\u0301",
}
NUMBERS = [0.0, -0.0, 5e-324, -5e-324, 2.2e-308, 1e308, -1e308, 1.7976931348623157e308]
NO_NUMBERS = [math.nan, math.inf, -math.inf]
MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> IngestLake:
    """An empty lake."""
    return make_lake(spark, tmp_path_factory.mktemp("hostile"))


def test_odd_values_of_parquet_are_held_as_they_are_or_refused(lake: IngestLake) -> None:
    lake = lake.with_experiment("exp_odd_parquet", contracts={"max_bad_fraction": 1.0})
    lake.write_healthy("assignments", "exposures")
    rows = [lake.row("outcomes", name, "revenue", 1.0, TIME) for name in IDS.values()]
    rows += [lake.row("outcomes", f"n{i}", "revenue", value, TIME) for i, value in enumerate(NUMBERS + NO_NUMBERS)]
    rows += [lake.row("outcomes", f"t{i}", "revenue", 2.0, moment) for i, moment in enumerate(MOMENTS)]
    path = lake.write("outcomes", rows)
    wide = {"experiment_id": [lake.experiment_id], "user_id": ["wide"], "metric_name": ["revenue"], "value": [3.0]}
    columns: dict[str, Any] = wide | {"outcome_ts": pa.array([TIME], pa.timestamp("us", tz="UTC"))}
    lake.write_table("outcomes", pa.table(columns | {f"extra_{n}": [n] for n in range(10_000)}), "wide.parquet")
    before = path.read_bytes()

    lake.run()

    held = lake.spark.table("iceberg.exp.outcomes").where(f"experiment_id = '{lake.experiment_id}'")
    found = {row["user_id"]: row["value"] for row in held.select("user_id", "value").collect()}
    assert set(found) >= {*IDS.values(), "wide"}
    held_as = [repr(value + 0.0) for value in NUMBERS]  # -0.0 and 0.0 are one number, so that they are one event
    assert [repr(found[f"n{i}"]) for i in range(len(NUMBERS))] == held_as
    assert len(found) == len(IDS) + len(NUMBERS) + len(MOMENTS) + 1
    assert lake.refused("outcomes") == [("non_finite_value", 1)] * len(NO_NUMBERS)
    assert lake.findings("outcomes")["only contract columns"] == (False, 10_000)
    assert path.read_bytes() == before


HOSTILE_LINES = [
    '{"u": "good", "v": 1.5, "at": "2026-01-06T10:00:00Z"}',
    '{"u": "deep", "v": ' + "[" * 2000 + "]" * 2000 + ', "at": "2026-01-06T10:00:00Z"}',
    '{"u": "huge", "v": 1e400, "at": "2026-01-06T10:00:00Z"}',
    '{"u": "digits", "v": ' + "9" * 2000 + ', "at": "2026-01-06T10:00:00Z"}',
    '{"u": "nan", "v": NaN, "at": "2026-01-06T10:00:00Z"}',
    '{"u": "twice", "v": 1, "v": 2, "at": "2026-01-06T10:00:00Z"}',
    '{"u": "never", "v": 1, "at": "2026-02-30T10:00:00Z"}',
    '{"u": "object", "v": {"x": 1}, "at": "2026-01-06T10:00:00Z"}',
    '["u", "v"]',
    "null",
    "{torn",
    '{"u": ' + json.dumps("x" * 2**20) + ', "v": 1, "at": "2026-01-06T10:00:00Z"}',
]


def test_hostile_lines_of_json_are_rows_or_in_the_quarantine(lake: IngestLake, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes("\n".join(HOSTILE_LINES).encode() + b'\n{"u": "\xff\xfe", "v": 1}\n\n')
    columns = {"user_id": "u", "value": "v", "outcome_ts": "at"}
    source = {"format": "json", "location": str(tmp_path), "columns": columns, "constants": {"metric_name": "revenue"}}
    lake = lake.with_experiment("exp_odd_json", contracts={"max_bad_fraction": 1.0}, sources={"outcomes": source})
    lake.write_healthy("assignments", "exposures")
    assert "good" in held_or_blocked(lake)


def test_hostile_lines_of_csv_are_rows_or_in_the_quarantine(lake: IngestLake, tmp_path: Path) -> None:
    lines = [
        "u,v,at",
        "good,1.5,2026-01-06T10:00:00Z",
        "a\rb,1,2026-01-06T10:00:00Z",
        ",".join("x" * 5000),
        '"open,1,x',
    ]
    lines += [
        f"{'x' * 2**20},1,2026-01-06T10:00:00Z",
        "nul\x00,1,2026-01-06T10:00:00Z",
        "big,1e400,2026-01-06T10:00:00Z",
    ]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe,1,2026-01-06T10:00:00Z\n")
    columns = {"user_id": "u", "value": "v", "outcome_ts": "at"}
    source = {"format": "csv", "location": str(tmp_path), "columns": columns, "constants": {"metric_name": "revenue"}}
    lake = lake.with_experiment("exp_odd_csv", contracts={"max_bad_fraction": 1.0}, sources={"outcomes": source})
    lake.write_healthy("assignments", "exposures")
    assert "good" in held_or_blocked(lake)


def held_or_blocked(lake: IngestLake) -> list[str]:
    """The users whose events are held; where the dataset is blocked, by a sentence, its good row counts as told."""
    try:
        lake.run()
    except ContractViolation as error:
        assert "\n" not in str(error)
        return ["good"]
    users = lake.users("outcomes")
    assert not {"torn", "never", "huge"} & set(users)
    assert lake.refused("outcomes")
    return users
