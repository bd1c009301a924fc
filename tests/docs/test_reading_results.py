"""The programs of docs/reading-results.md run as they stand on a small lake, as do the queries of memos' cards."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from tests.docs.pages import ROOT, Block, blocks_of
from tests.published_lake import published_lake
from tests.sessions import session_for

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog
from exp_platform.lake.tables.examples import EXAMPLES
from exp_platform.memo.queries import QUERIES, Subject, broken_rules, quarantined, query_of, second_opinions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = "docs/reading-results.md"
PROGRAMS = [block for block in blocks_of(PAGE, (ROOT / PAGE).read_text()) if block.language == "python"]
WITH_SPARK = [block for block in PROGRAMS if "spark" in block.text]
WITHOUT = [block for block in PROGRAMS if block not in WITH_SPARK]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return published_lake(tmp_path_factory.mktemp("reading"))[0]


@pytest.fixture
def in_the_clone(lake: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a reader starts the programs."""
    monkeypatch.chdir(lake.root)
    monkeypatch.setenv("EXP_CONFIG", str(lake.path))
    return lake.root


@pytest.fixture
def session(lake: Project, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> SparkSession:
    """A session on the small lake, which is also the one that a program gets."""
    own = session_for(spark, lake)
    monkeypatch.setattr("exp_platform.spark.session.build_spark_session", lambda name: own)
    return own


def test_there_are_programs_for_each_library() -> None:
    text = "\n".join(block.text for block in PROGRAMS)
    assert len(WITHOUT) == 3 and len(WITH_SPARK) == 1
    assert all(word in text for word in ("pyiceberg.catalog", "import duckdb", "build_spark_session", "load_project"))


@pytest.mark.parametrize("block", WITHOUT, ids=lambda block: block.place)
def test_a_program_prints_the_results(block: Block, in_the_clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, block.place, "exec"), {})
    printed = capsys.readouterr().out
    assert "exp_test" in printed and "2026-01-14" in printed
    assert "ship" in printed or "checkout" in printed


ASKED = Subject("exp_test", "2026-01-14", metric="checkout", sources=("checkout",), run_id="run_1")
CARD_QUERIES = {check: query_of(check, ASKED) for check in (*QUERIES, "clusters")}
CARD_QUERIES |= {
    "quarantine": quarantined(ASKED),
    "contract": broken_rules(ASKED),
    "second opinion": second_opinions(ASKED),
    "streams": query_of("outcome_volume", replace(ASKED, streams={"outcomes": ("shop",)})),
    "segments": query_of("srm_by_segment", replace(ASKED, segment="platform=ios")),
}
# Of these the small lake has rows; of the others it has the tables.
ANSWERED = {
    *("srm_assigned", "srm_analysed", "exposure_logging", "outliers", "novelty", "aa_pre_period", "share_with_value"),
    "segments",
}


@pytest.fixture(scope="module")
def duck(lake: Project) -> duckdb.DuckDBPyConnection:
    """DuckDB with the tables of the small lake under their own names."""
    connection = duckdb.connect()
    connection.execute("ATTACH ':memory:' AS iceberg")
    catalog = load_catalog(lake)
    for name in {name for query in CARD_QUERIES.values() for name in re.findall(r"iceberg\.(\w+\.\w+)", query)}:
        connection.register("rows", catalog.load_table(name).scan().to_arrow())
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS iceberg.{name.partition('.')[0]}")
        connection.execute(f"CREATE TABLE iceberg.{name} AS SELECT * FROM rows")
    return connection


@pytest.mark.parametrize("check", CARD_QUERIES)
def test_the_query_of_a_card_runs_in_duckdb(check: str, duck: duckdb.DuckDBPyConnection) -> None:
    answer = duck.sql(CARD_QUERIES[check])
    assert answer.columns and (bool(answer.fetchall()) or check not in ANSWERED)


@pytest.mark.spark
def test_spark_understands_the_query_of_every_card(session: SparkSession) -> None:
    assert [check for check, query in CARD_QUERIES.items() if not session.sql(query).columns] == []


@pytest.mark.spark
def test_the_spark_program_prints_the_results(
    in_the_clone: Path, session: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = WITH_SPARK
    exec(compile(block.text, block.place, "exec"), {})
    printed = capsys.readouterr().out
    assert "exp_test" in printed and "|checkout" in printed and "|secondary" in printed


@pytest.mark.spark
def test_spark_understands_the_example_of_every_table(session: SparkSession) -> None:
    assert [name for name, query in EXAMPLES.items() if not session.sql(query).columns] == []
