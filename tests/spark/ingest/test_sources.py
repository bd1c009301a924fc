"""A team's own events, mapped to the contracts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest_lake import IngestLake, at

from exp_platform.errors import ConfigError, ContractViolation

pytestmark = pytest.mark.spark
TIME = at("2026-01-06T10:00:00")
CONSTANT = {"experiment_id": "", "metric_name": "revenue"}


def mapped(lake: IngestLake, dataset: str = "outcomes", **source: Any) -> IngestLake:
    """The lake with a dataset from elsewhere; the others are in the raw zone."""
    source["constants"] = {"experiment_id": lake.experiment_id} | source.get("constants", {})
    lake = lake.with_experiment(lake.experiment_id, sources={dataset: source})
    lake.write_healthy(*{"assignments", "exposures", "outcomes"} - {dataset})
    return lake


def elsewhere(lake: IngestLake, name: str, text: str | bytes) -> str:
    folder = lake.folder.parent.parent / f"own_{lake.experiment_id}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


def outcomes(lake: IngestLake) -> list[tuple[Any, ...]]:
    return lake.rows("exp.outcomes", "user_id", "metric_name", "value", "outcome_ts")


def test_csv_files_are_read_by_their_own_headers_and_what_does_not_parse_is_refused(lake: IngestLake) -> None:
    good = ("u1,12.5,2026-01-06T10:00:00Z", '"u,2",-3e2,2026-01-06 11:00:00', "u3,12.5,2026-01-06T10:00:00Z")
    location = elsewhere(lake, "a.csv", "\n".join(("customer,amount,at", *good)))
    turned = b"at,amount,customer\n2026-01-06T10:00:00Z,1,u4\n"
    elsewhere(lake, "b.csv.gz", gzip.compress(turned))
    elsewhere(
        lake, "c.csv", "customer,amount,at\nu5,a lot,2026-01-06T10:00:00Z\nu6,,\nu7,1,2026-01-06T10:00:00Z,extra\n"
    )
    elsewhere(lake, "notes.txt", "not data")
    columns = {"user_id": "customer", "value": "amount", "outcome_ts": "at"}
    lake = mapped(lake, format="csv", location=location, columns=columns, constants={"metric_name": "revenue"})
    lake.run()
    assert outcomes(lake) == [
        ("u,2", "revenue", -300.0, "2026-01-06T11:00:00.000000"),
        ("u1", "revenue", 12.5, "2026-01-06T10:00:00.000000"),
        ("u3", "revenue", 12.5, "2026-01-06T10:00:00.000000"),
        ("u4", "revenue", 1.0, "2026-01-06T10:00:00.000000"),
    ]
    assert lake.refused("outcomes") == [
        ("null_outcome_ts", 1),
        ("null_value", 1),
        ("unparseable_row", 1),
        ("unparseable_value", 1),
    ]
    said = {rule: json.loads(row) for rule, row in lake.rows("ops.quarantine", "rule", "row")}
    assert said["unparseable_value"]["value"] == "a lot"
    assert said["unparseable_row"]["corrupt_line"] == "u7,1,2026-01-06T10:00:00Z,extra"
    elsewhere(lake, "d.csv", "customer,amount,at\nu8,1,2026-01-06T10:00:00Z\nu1,12.5,2026-01-06T10:00:00Z\n")
    lines = lake.run("r2")
    assert [row[0] for row in outcomes(lake)] == ["u,2", "u1", "u3", "u4", "u8"]
    assert any("outcomes: read 1 files, reused 3 files" in line for line in lines)


def test_json_lines_are_read_with_expressions_into_nested_fields(lake: IngestLake) -> None:
    events = [
        {"user": {"id": 17}, "price": "4.5", "ms": 1767693600123},
        {"user": {"id": 18}, "price": 5, "ms": 1767693600000},
        {"user": {"id": 19}, "price": "n/a", "ms": 1767693600000},
    ]
    text = "\n".join(json.dumps(event) for event in events) + "\n{broken\n"
    location = elsewhere(lake, "a.jsonl", text)
    columns = {"user_id": "user.id", "value": "price", "outcome_ts": "timestamp_millis(try_cast(ms AS bigint))"}
    lake = mapped(lake, format="json", location=location, columns=columns, constants={"metric_name": "revenue"})
    lake.run()
    assert outcomes(lake) == [
        ("17", "revenue", 4.5, "2026-01-06T10:00:00.123000"),
        ("18", "revenue", 5.0, "2026-01-06T10:00:00.000000"),
    ]
    assert lake.refused("outcomes") == [("unparseable_row", 1), ("unparseable_value", 1)]


def test_parquet_with_other_names_and_types_and_only_some_rows(lake: IngestLake) -> None:
    table = pa.table(
        {
            "customer": pa.array([1, 2, 3], pa.int64()),
            "kind": ["purchase", "purchase", "page_view"],
            "cents": pa.array([1250, 99, 0], pa.int32()),
            "day": pa.array([TIME.date()] * 3, pa.date32()),
            "nanos": pa.array([1_767_693_600_000_000_999] * 3, pa.timestamp("ns")),
        }
    )
    location = elsewhere(lake, "keep", b"")
    pq.write_table(table, f"{location}/a.parquet")
    columns = {"user_id": "customer", "value": "cents / 100.0", "outcome_ts": "day"}
    source = {"format": "parquet", "location": location, "columns": columns, "where": "kind = 'purchase'"}
    lake = mapped(lake, **source, constants={"metric_name": "revenue"})
    lake.run()
    assert outcomes(lake) == [
        ("1", "revenue", 12.5, "2026-01-06T00:00:00.000000"),
        ("2", "revenue", 0.99, "2026-01-06T00:00:00.000000"),
    ]
    assert lake.findings("outcomes")["exact duplicates count once"] == (True, 0)
    lake = mapped(
        lake, **(source | {"columns": columns | {"outcome_ts": "nanos"}}), constants={"metric_name": "revenue"}
    )
    lake.run("r2")
    assert {row[3] for row in outcomes(lake)} == {"2026-01-06T10:00:00.000000"}


def test_an_iceberg_table_is_read_again_when_it_has_a_new_snapshot(lake: IngestLake) -> None:
    name = f"exp.own_{lake.experiment_id}"[:60]
    lake.spark.sql(f"CREATE TABLE iceberg.{name} (who string, amount decimal(10, 2), at timestamp) USING iceberg")
    lake.spark.sql(f"INSERT INTO iceberg.{name} VALUES ('u1', 2.50, timestamp'2026-01-06 10:00:00')")
    columns = {"user_id": "who", "value": "amount", "outcome_ts": "at"}
    lake = mapped(lake, format="iceberg", location=name, columns=columns, constants={"metric_name": "revenue"})
    lake.run()
    assert outcomes(lake) == [("u1", "revenue", 2.5, "2026-01-06T10:00:00.000000")]
    assert any("outcomes: read 0 files, reused 1 files" in line for line in lake.run("r2"))
    lake.spark.sql(f"INSERT INTO iceberg.{name} VALUES ('u2', 3, timestamp'2026-01-07 10:00:00')")
    lake.run("r3")
    assert [row[0] for row in outcomes(lake)] == ["u1", "u2"]
    assert lake.rows("exp.outcomes", "source_file")[0] == (f"iceberg.{name}",)


def test_a_mapping_that_does_not_fit_is_said_in_one_sentence(lake: IngestLake) -> None:
    location = elsewhere(lake, "a.csv", "customer,amount,at\nu1,x,2026-01-06T10:00:00Z\n")
    columns = {"user_id": "customer", "value": "amount", "outcome_ts": "at"}
    constants = {"metric_name": "revenue"}

    def fails(kind: type[Exception], match: str, **changed: Any) -> None:
        source = {"format": "csv", "location": location, "columns": columns, "constants": constants} | changed
        with pytest.raises(kind, match=match):
            mapped(lake, **source).run()

    fails(ContractViolation, "a.csv: column 'metric_name' is missing; found: customer, amount, at", constants={})
    fails(ContractViolation, r"'price \* 2' for 'value' cannot be worked out", columns=columns | {"value": "price * 2"})
    fails(ConfigError, "is neither a column nor Spark SQL", columns=columns | {"value": "amount *"})
    fails(ContractViolation, "fails on a value.*use try_cast", columns=columns | {"value": "cast(amount AS double)"})
    fails(ContractViolation, "no rows", location=f"{location}/nowhere")
    fails(ContractViolation, "no rows", format="iceberg", location="exp.no_such_table")
    fails(ConfigError, "constants: value: found 'much', expected a number", constants=constants | {"value": "much"})


def test_a_source_that_has_vanished_has_no_rows(lake: IngestLake) -> None:
    name = f"exp.gone_{lake.experiment_id}"[:60]
    lake.spark.sql(f"CREATE TABLE iceberg.{name} (user_id string, value double, outcome_ts timestamp) USING iceberg")
    lake.spark.sql(f"INSERT INTO iceberg.{name} VALUES ('u1', 2.5, timestamp'2026-01-06 10:00:00')")
    table = mapped(lake, format="iceberg", location=name, constants={"metric_name": "revenue"})
    table.run("r1")
    lake.spark.sql(f"DROP TABLE iceberg.{name} PURGE")
    with pytest.raises(ContractViolation, match=f"outcomes: {name}: no rows"):
        table.run("r2")

    event = {"user_id": "u1", "metric_name": "revenue", "value": 1, "outcome_ts": "2026-01-06T10:00:00Z"}
    location = elsewhere(lake, "a.json", json.dumps(event) + "\n")
    lines = mapped(lake, format="json", location=location)
    lines.run("r3")
    Path(location, "a.json").unlink()
    with pytest.raises(ContractViolation, match=f"outcomes: {location}: no rows"):
        lines.run("r4")
    assert outcomes(lake) == [("u1", "revenue", 1.0, "2026-01-06T10:00:00.000000")]


def test_an_empty_file_of_lines_has_no_rows(lake: IngestLake) -> None:
    event = {"user_id": "u1", "metric_name": "revenue", "value": 1, "outcome_ts": "2026-01-06T10:00:00Z"}
    location = elsewhere(lake, "a.json", json.dumps(event) + "\n")
    lake = mapped(lake, format="json", location=location)
    lake.run("r1")
    elsewhere(lake, "b.json", "")
    lake.run("r2")
    assert [row[0] for row in outcomes(lake)] == ["u1"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_torn_archive_of_lines_is_named(lake: IngestLake, kind: str) -> None:
    location = elsewhere(lake, f"a.{kind}.gz", gzip.compress(b"user_id,value,outcome_ts\n" * 99)[:10] + b"\xff" * 40)
    lake = mapped(lake, format=kind, location=location, constants={"metric_name": "revenue"})
    with pytest.raises(ContractViolation, match=rf"a\.{kind}\.gz: cannot be read"):
        lake.run()


def test_names_of_columns_may_have_any_characters_where_expressions_are_used(lake: IngestLake) -> None:
    location = elsewhere(lake, "ignored.txt", "")
    row = {"user id": ["u1"], "a.b`c": [2], "at": [TIME], "note`": ["x"]}
    pq.write_table(pa.table(row), f"{location}/a.parquet")
    columns = {"user_id": "user id", "value": "`a.b``c` * 2", "outcome_ts": "at"}
    lake = mapped(lake, format="parquet", location=location, columns=columns, constants={"metric_name": "revenue"})
    lake.run()
    assert outcomes(lake) == [("u1", "revenue", 4.0, "2026-01-06T10:00:00.000000")]
