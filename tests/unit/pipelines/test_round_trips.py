"""A stage asks the catalog a bounded number of times: on a catalog that is far away each question is a wait."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest
from tests.counted import counted
from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables, load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import OUTCOMES, STREAM_OUTCOMES
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.context import open_stage, tables_at_start
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run

EXPERIMENT, DT = "exp_checkout_button_001", date(2026, 1, 20)
OF_BOOKS = 12  # claim, manifest, configurations and findings, before and after the stage's own work
OF_A_TABLE = 5  # of each table that a stage publishes: its fence, its commit, its findings


def test_a_second_set_up_asks_once_for_each_table(project: Project) -> None:
    ensure_tables(project)
    with counted() as calls:
        ensure_tables(project)
    assert dict(calls) == {"opened": 1, "load_table": len(TABLES)}


def test_one_table_is_one_question(project: Project) -> None:
    load_handle(project, "ops.run_claim")
    with counted() as calls:
        load_handle(project, "ops.run_claim")
    assert dict(calls) == {"opened": 1, "load_table": 1}


def test_the_first_stage_asks_for_every_table_once_and_then_for_its_own_and_the_books(project: Project) -> None:
    ensure_tables(project)
    stage = BY_NAME["sync_registry"]
    with counted() as calls:
        claim(project, EXPERIMENT, "first", DT, started_by="test")
    assert calls["load_table"] <= 3 and calls["commit_table"] == 1
    for run_id in ("first", "second"):  # the second finds what the first has published
        claim(project, EXPERIMENT, run_id, DT, started_by="test")
        with counted() as calls, open_stage(Run(project, EXPERIMENT, DT, run_id), stage, say=str) as ctx:
            stage.run(ctx)
        assert calls["load_table"] <= len(TABLES) + OF_BOOKS + OF_A_TABLE * len(stage.publishes), dict(calls)
        assert calls["commit_table"] <= len(stage.publishes) + 6, dict(calls)
        assert calls["opened"] <= 3, dict(calls)
        assert not calls["create_table"]


@pytest.mark.parametrize("name", ["build_assignments", "aggregate_metrics", "check_guardrails"])
def test_a_later_stage_asks_for_the_tables_that_it_declares_and_for_the_books(project: Project, name: str) -> None:
    empty_lake(project)
    claim(project, EXPERIMENT, "first", DT, started_by="test")
    stage = BY_NAME[name]
    declared = {*stage.reads, *stage.publishes}
    with counted() as calls, open_stage(Run(project, EXPERIMENT, DT, "first"), stage, say=str) as ctx:
        assert ctx.read.handles.keys() == declared
    assert len(declared) <= calls["load_table"] <= len(declared) + OF_BOOKS, dict(calls)


def test_a_stage_of_an_experiment_on_streams_asks_for_the_tables_of_the_streams(project: Project) -> None:
    run = Run(project, EXPERIMENT, DT, "first")
    vars(run)["stream_views"] = {OUTCOMES: SimpleNamespace(table=TABLES[STREAM_OUTCOMES])}
    asked = tables_at_start(run, BY_NAME["aggregate_metrics"])
    assert STREAM_OUTCOMES in asked and OUTCOMES not in asked
    assert {*BY_NAME["ingest_events"].publishes} <= {*tables_at_start(run, BY_NAME["ingest_events"])}
