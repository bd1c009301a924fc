"""The declarations: every column is described, and the page that people read is written from them."""

from __future__ import annotations

import duckdb
import pytest

from exp_platform.lake.tables import NAMESPACES, TABLES, Table, names
from exp_platform.lake.tables.declare import COMMON, read_columns
from exp_platform.lake.tables.examples import EXAMPLES
from exp_platform.lake.tables.tables_page import page_path, page_text
from exp_platform.lake.types import arrow_schema


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_has_a_short_plain_description(table: Table) -> None:
    assert set(table.descriptions) == set(table.columns)
    for column, words in table.descriptions.items():
        assert 6 <= len(words) <= 200, f"{column}: {words}"
        assert words.endswith("."), f"{column}: {words}"


def test_a_column_that_is_not_described_means_what_it_means_everywhere() -> None:
    types, descriptions = read_columns("experiment_id string!\nharm double Relative change,\n| a fraction.\nodd int")
    assert types == {"experiment_id": "string!", "harm": "double", "odd": "int"}
    assert descriptions == {"experiment_id": COMMON["experiment_id"], "harm": "Relative change, a fraction."}


def test_every_table_has_a_constant_and_every_constant_is_a_table() -> None:
    constants = {value for name, value in vars(names).items() if name.isupper()}
    assert constants == set(TABLES)
    assert {name.split(".")[0] for name in TABLES} == set(NAMESPACES)


def test_tables_of_the_day_and_tables_of_the_latest_day_are_told_apart() -> None:
    latest = {table.name for table in TABLES.values() if table.shows_latest_dt}
    assert not any(TABLES[name].has_dt for name in latest)
    assert {names.COHORT, names.FACT_ASSIGNMENT, names.METRIC_AGGREGATES_DAILY} <= latest
    assert not {names.OUTCOMES, names.DIM_EXPERIMENT, names.DECISION, names.RUN_MANIFEST} & latest


def test_every_table_says_its_grain_and_shows_a_query_that_runs() -> None:
    assert set(EXAMPLES) == set(TABLES)
    connection = duckdb.connect()
    for table in TABLES.values():
        assert table.grain and set(table.grain) <= set(table.columns)
        connection.register("empty", arrow_schema(table).empty_table())
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.name.split('.')[0]}")
        connection.execute(f"CREATE TABLE {table.name} AS SELECT * FROM empty")
    for name, query in EXAMPLES.items():
        assert query.startswith("-- ") and f"FROM iceberg.{name}\n" in f"{query}\n", name
        connection.execute(query.replace("iceberg.", ""))


def test_the_page_of_the_tables_has_not_drifted() -> None:
    assert page_path().read_text(encoding="utf-8") == page_text(), "run `make docs-generated`"


def test_every_table_says_whose_rows_it_holds():
    of_streams = {name for name, table in TABLES.items() if table.holds_rows_of("stream.seen")}
    of_experiments = {name for name, table in TABLES.items() if table.holds_rows_of("exp_a")}
    assert {name for name in TABLES if ".stream_" in name} <= of_streams
    assert not {name for name in of_experiments if ".stream_" in name}
    assert "ops.metric_versions" not in of_streams | of_experiments  # a definition belongs to no experiment
