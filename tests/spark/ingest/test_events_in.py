"""Rows of raw files become events, or are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.ingest_lake import IngestLake, at

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.spark
TIME = at("2026-01-06T10:00:00")


def test_the_events_of_all_datasets_are_in_the_lake_with_their_file(lake: IngestLake) -> None:
    lake.write_healthy()
    lines = lake.run()
    assert lake.rows("exp.outcomes", "user_id", "metric_name", "value", "outcome_ts", "source_file") == [
        ("u1", "revenue", 10.5, "2026-01-06T10:00:00.000000", f"{lake.folder}/outcomes/dt=2026-01-06/healthy.parquet"),
        ("u2", "revenue", 0.0, "2026-01-06T10:00:00.000000", f"{lake.folder}/outcomes/dt=2026-01-06/healthy.parquet"),
    ]
    assert lake.users("assignments") == ["u1", "u2"]
    assert lake.users("exposures") == ["u1", "u2"]
    assert lake.users("attributes") == []
    assert any("outcomes: 2 rows in the files now present, 0 exact duplicates dropped, 0 refused" in x for x in lines)
    assert lake.refs("outcomes") == []


def test_an_exact_duplicate_counts_once_in_one_file_and_across_files_and_the_smallest_path_is_kept(
    lake: IngestLake,
) -> None:
    lake.write_healthy("assignments", "exposures")
    event = lake.row("outcomes", "u1", "revenue", 1.0, TIME)
    lake.write("outcomes", [event, event, lake.row("outcomes", "u1", "revenue", 2.0, TIME)], "b.parquet")
    lake.write("outcomes", [event], "a.parquet")
    lake.run()
    assert lake.rows("exp.outcomes", "value", "source_file") == [
        (1.0, f"{lake.folder}/outcomes/dt=2026-01-06/a.parquet"),
        (2.0, f"{lake.folder}/outcomes/dt=2026-01-06/b.parquet"),
    ]
    assert lake.findings("outcomes")["exact duplicates count once"] == (True, 2)


def test_a_dataset_in_which_every_row_is_repeated_counts_once(lake: IngestLake) -> None:
    lake.write_healthy()
    lake.write_healthy()
    for dataset in ("assignments", "exposures", "outcomes"):
        path = lake.folder / dataset / "dt=2026-01-06" / "healthy.parquet"
        (path.parent / "again.parquet").write_bytes(path.read_bytes())
    lake.run()
    assert lake.users("outcomes") == ["u1", "u2"]
    assert lake.findings("outcomes")["exact duplicates count once"] == (True, 2)


BAD_ROWS = [
    ("assignments", (None, "control", TIME, "user"), "null_user_id"),
    ("assignments", ("", "control", TIME, "user"), "empty_user_id"),
    ("assignments", ("u9", None, TIME, "user"), "null_variant"),
    ("assignments", ("u9", "unheard_of", TIME, "user"), "unknown_variant"),
    ("assignments", ("u8", "paused", TIME, "user"), "unknown_variant"),
    ("assignments", ("u9", "control", None, "user"), "null_assignment_ts"),
    ("assignments", ("u9", "control", TIME, "session"), "unknown_unit"),
    ("exposures", ("u9", "control", TIME, "device"), "unknown_unit"),
    ("exposures", ("u9", "Control", TIME, "user"), "unknown_variant"),
    ("outcomes", ("u9", "revenue", float("nan"), TIME), "non_finite_value"),
    ("outcomes", ("u9", "revenue", float("-inf"), TIME), "non_finite_value"),
    ("outcomes", ("u9", "revenue", None, TIME), "null_value"),
    ("outcomes", ("u9", None, 1.0, TIME), "null_metric_name"),
]


def test_a_row_that_breaks_a_rule_is_in_the_quarantine_and_nowhere_else(lake: IngestLake) -> None:
    lake = lake.with_experiment(lake.experiment_id, contracts={"max_bad_fraction": 1.0})
    lake.write_healthy()
    for dataset in ("assignments", "exposures", "outcomes"):
        rows = [lake.row(dataset, *bad) for where, bad, _ in BAD_ROWS if where == dataset]
        lake.write(dataset, rows * 2, "bad.parquet")
    lake.run()
    for dataset in ("assignments", "exposures", "outcomes"):
        broken = [rule for where, _, rule in BAD_ROWS if where == dataset]
        assert lake.users(dataset) == ["u1", "u2"]
        assert lake.refused(dataset) == sorted((rule, 2) for rule in broken)
        assert lake.findings(dataset)["rows are valid"] == (True, len(broken))
        assert all(lake.findings(dataset)[f"no {rule}"] == (False, broken.count(rule)) for rule in broken)
    [(row, file, digest)] = lake.rows(
        "ops.quarantine", "row", "source_file", "row_hash", where="rule = 'empty_user_id'"
    )
    assert json.loads(row) == {
        "experiment_id": lake.experiment_id,
        "user_id": "",
        "variant": "control",
        "assignment_ts": "2026-01-06T10:00:00.000000Z",
        "unit": "user",
    }
    assert file.endswith("/bad.parquet")
    assert len(digest) == 64


def test_an_event_of_another_experiment_is_refused(lake: IngestLake) -> None:
    lake.write_healthy()
    other = ("exp_add_cart_002", "u9", "control", TIME, "user")
    none = (None, "u9", "control", TIME, "user")
    lake.write("assignments", [other, none], "other.parquet")
    lake.run()
    assert lake.refused("assignments") == [("null_experiment_id", 1), ("other_experiment", 1)]


def test_a_row_that_breaks_two_rules_has_two_entries_and_is_one_bad_row(lake: IngestLake) -> None:
    lake.write_healthy()
    lake.write("assignments", [lake.row("assignments", None, "unheard_of", TIME, "user")], "bad.parquet")
    lake.run()
    assert lake.refused("assignments") == [("null_user_id", 1), ("unknown_variant", 1)]
    assert lake.findings("assignments")["rows are valid"] == (True, 1)


def test_text_times_are_read_as_utc_and_what_is_no_time_is_refused_with_what_it_said(lake: IngestLake) -> None:
    lake.write_healthy("exposures", "outcomes")
    texts = {
        "u1": "2026-01-06T10:00:00Z",
        "u2": "2026-01-06 10:00:00.1234567",
        "u3": "2026-01-06T12:00:00+02:00",
        "u4": "2026-01-06T10:00",
        "u4b": "2026-01-06 10:00:00+00",
        "u4c": "2026-01-06T12:00:00+0200",
        "u4d": "2026-01-06T12:00+02:00",
        "u4e": "2026-01-06 10:00Z",
        "u5": "yesterday",
        "u6": "12:30",
        "u7": "2026-02-30T00:00:00",
        "u8": "2026",
    }
    rows = [lake.row("assignments", user, "control", text, "user") for user, text in texts.items()]
    lake.write("assignments", rows, assignment_ts=pa.string())
    lake.run()
    assert lake.rows("exp.assignments", "user_id", "assignment_ts") == [
        ("u1", "2026-01-06T10:00:00.000000"),
        ("u2", "2026-01-06T10:00:00.123456"),
        ("u3", "2026-01-06T10:00:00.000000"),
        ("u4", "2026-01-06T10:00:00.000000"),
        ("u4b", "2026-01-06T10:00:00.000000"),
        ("u4c", "2026-01-06T10:00:00.000000"),
        ("u4d", "2026-01-06T10:00:00.000000"),
        ("u4e", "2026-01-06T10:00:00.000000"),
    ]
    assert lake.refused("assignments") == [("unparseable_assignment_ts", 1)] * 4
    said = [json.loads(row)["assignment_ts"] for (row,) in lake.rows("ops.quarantine", "row")]
    assert sorted(said) == ["12:30", "2026", "2026-02-30T00:00:00", "yesterday"]


INT96 = {"use_deprecated_int96_timestamps": True}
TIMESTAMPS = {
    "ns": (pa.timestamp("ns"), {}),
    "ns_utc": (pa.timestamp("ns", tz="UTC"), {}),
    "us_without_zone": (pa.timestamp("us"), {}),
    "us_berlin": (pa.timestamp("us", tz="Europe/Berlin"), {}),
    "int96": (pa.timestamp("ns"), INT96),
    "int96_berlin": (pa.timestamp("ns", tz="Europe/Berlin"), INT96),
}


def test_every_kind_of_timestamp_is_utc_cut_to_microseconds(lake: IngestLake) -> None:
    lake.write_healthy("exposures", "outcomes")
    nanoseconds = 1_767_693_600 * 10**9 + 123_456_789
    for name, (kind, options) in TIMESTAMPS.items():
        instant = nanoseconds if kind.unit == "ns" else nanoseconds // 1000
        columns = {
            "experiment_id": [lake.experiment_id],
            "user_id": [name],
            "variant": ["control"],
            "assignment_ts": pa.array([instant], kind),
            "unit": ["user"],
        }
        lake.write_table("assignments", pa.table(columns), f"{name}.parquet", **options)
    lake.run()
    expected = "2026-01-06T10:00:00.123456"
    assert lake.rows("exp.assignments", "user_id", "assignment_ts") == sorted((name, expected) for name in TIMESTAMPS)


def test_files_of_different_types_are_read_together(lake: IngestLake) -> None:
    lake.write_healthy("assignments", "exposures")
    lake.write("outcomes", [lake.row("outcomes", "u1", "revenue", 1, TIME)], "a.parquet", value=pa.int64())
    lake.write("outcomes", [lake.row("outcomes", "u1", "revenue", 1.0, TIME)], "b.parquet")
    lake.write("outcomes", [lake.row("outcomes", "u2", "revenue", 0.5, TIME)], "c.parquet", value=pa.float32())
    naive = pa.timestamp("ms")
    lake.write(
        "outcomes",
        [lake.row("outcomes", "u3", "revenue", 2.0, TIME)],
        "d.parquet",
        outcome_ts=naive,
        user_id=pa.string_view(),
    )
    lake.run()
    assert lake.rows("exp.outcomes", "user_id", "value", "source_file") == [
        ("u1", 1.0, f"{lake.folder}/outcomes/dt=2026-01-06/a.parquet"),
        ("u2", 0.5, f"{lake.folder}/outcomes/dt=2026-01-06/c.parquet"),
        ("u3", 2.0, f"{lake.folder}/outcomes/dt=2026-01-06/d.parquet"),
    ]


def test_an_extra_column_is_tolerated_and_reported_and_dt_in_a_path_is_only_a_label(lake: IngestLake) -> None:
    lake.write_healthy("assignments", "exposures")
    table = pa.table(
        {
            "experiment_id": [lake.experiment_id],
            "user_id": ["u1"],
            "metric_name": ["revenue"],
            "value": [1.0],
            "outcome_ts": pa.array([at("2025-12-24T00:00:00")], pa.timestamp("us", tz="UTC")),
            "dt": ["1999-01-01"],
            "device": ["phone"],
        }
    )
    lake.write_table("outcomes", table)
    lake.run()
    assert lake.rows("exp.outcomes", "user_id", "outcome_ts") == [("u1", "2025-12-24T00:00:00.000000")]
    assert lake.findings("outcomes")["only contract columns"] == (False, 2)


def test_names_that_begin_with_a_dot_or_underscore_are_no_data_and_odd_names_are(lake: IngestLake) -> None:
    lake.write_healthy()
    event = lake.row("outcomes", "odd", "revenue", 1.0, TIME)
    path = lake.write("outcomes", [event], "part 1+2 [a]{b}%20#ü.parquet")
    for hidden in ("_temporary/x.parquet", ".staging/x.parquet", "_x.parquet", ".x.parquet", "notes.txt"):
        other: Path = lake.folder / "outcomes" / hidden
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"not parquet")
    lake.run()
    assert lake.rows("exp.outcomes", "source_file", where="user_id = 'odd'") == [(str(path),)]


def test_an_assignment_log_is_not_needed_where_exposures_are_the_source(lake: IngestLake) -> None:
    lake = lake.with_experiment(lake.experiment_id, assignment_source="exposures")
    lake.write_healthy("exposures", "outcomes")
    lake.run()
    assert lake.users("assignments") == []
    assert lake.users("exposures") == ["u1", "u2"]


def test_attributes_are_taken_where_they_are_given(lake: IngestLake) -> None:
    lake.write_healthy()
    lake.write("attributes", [lake.row("attributes", "u1", "country", "de", TIME)])
    lake.run()
    assert lake.rows("exp.attributes", "user_id", "dimension", "value") == [("u1", "country", "de")]
