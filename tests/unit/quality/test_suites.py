"""The suites are generated from the contracts, complete, and not edited by hand."""

from __future__ import annotations

import json

import pytest

from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.registry import STAGES
from exp_platform.quality.arrow_rules import supports
from exp_platform.quality.rule import view_name
from exp_platform.quality.suites import load_rules, render, suite_path, suites_root, table_rules, write_suites
from exp_platform.quality.table_rules import TABLE_RULES

TABLES_WITH_SUITE = sorted(TABLE_RULES)


def test_every_table_that_crosses_a_stage_border_has_a_suite():
    published = {table for stage in STAGES for table in stage.publishes if not table.startswith("ops.")}
    assert published - set(TABLE_RULES) == set()


@pytest.mark.parametrize("table", TABLES_WITH_SUITE)
def test_the_files_are_what_the_contracts_say_today(table):
    drifted = f"great_expectations/ has drifted from the contracts of {table}: run `make suites`"
    assert suite_path(suites_root(), table).read_text() == render(table), drifted


def test_there_are_no_other_files(tmp_path):
    written = {path.relative_to(tmp_path) for path in write_suites(tmp_path)}
    found = {path.relative_to(suites_root()) for path in suites_root().rglob("*.json")}
    assert found == written
    assert list(suites_root().rglob("*.py")) == []


def test_a_changed_contract_is_seen_as_drift(monkeypatch):
    table = TABLES["gold.fct_experiment_cohort"]
    monkeypatch.setitem(table.columns, "extra", "string!")
    assert suite_path(suites_root(), table.name).read_text() != render(table.name)


@pytest.mark.parametrize("table", TABLES_WITH_SUITE)
def test_rules_name_columns_that_exist_and_have_different_texts(table):
    rules = table_rules(table)
    assert len({rule.text for rule in rules}) == len(rules)
    for rule in rules:
        named = {rule.arguments[key] for key in ("column", "column_A", "column_B") if key in rule.arguments}
        named |= set(rule.arguments.get("column_list", []))
        assert named <= set(TABLES[table].columns), rule.text


@pytest.mark.parametrize("table", TABLES_WITH_SUITE)
def test_queries_read_the_tables_that_they_declare(table):
    for rule in table_rules(table):
        query = rule.arguments.get("unexpected_rows_query", "")
        assert {t for t in TABLES if view_name(t) in query.replace(")", " ").split()} == set(rule.reads), rule.text


@pytest.mark.parametrize("table", [name for name in TABLES_WITH_SUITE if TABLES[name].engine == "pyiceberg"])
def test_rules_of_tables_without_a_session_can_be_checked_without_one(table):
    assert [rule.text for rule in table_rules(table) if not rule.in_publish and not supports(rule)] == []


def test_reading_a_suite_back_gives_its_rules():
    assert load_rules(suites_root(), "exp.analysis_results") == table_rules("exp.analysis_results")


def test_promised_rules_are_there():
    promised = {
        "gold.fct_experiment_cohort": "the cohort is exactly the assigned users, each in the assigned variant",
        "silver.dim_experiment_variant": "expected_allocation sums to 1",
        "silver.int_experiment_exposure_validation": "assignment_time_utc is not above first_valid_exposure_utc",
        "gold.fct_experiment_unit_outcomes": "one row per experiment_id × user_id",
        "exp.outcomes": "value is finite",
        "exp.assignments": "variant is one of the experiment's variants",
    }
    for table, text in promised.items():
        content = json.loads(suite_path(suites_root(), table).read_text())
        assert text in {e["description"] for e in content["expectations"]}, table


def test_a_rule_that_adds_rows_up_is_not_taken_for_one_about_each_row():
    def of_rows(table: str) -> set[str]:
        return {rule.text for rule in TABLE_RULES[table] if rule.is_about_rows}

    units = "gold.fct_experiment_unit_outcomes"
    assert of_rows(units) == {rule.text for rule in TABLE_RULES[units]}, "else no day could look at its dates alone"
    assert "users and events count the same exposures" not in of_rows("silver.int_experiment_exposure_validation")
    assert "days add up to all assignments" not in of_rows("gold.fct_experiment_quality_metrics_daily")
    assert "expected_allocation sums to 1" not in of_rows("silver.dim_experiment_variant")
    assert not {"there are rows", "at least 95% of the assignments are valid"} & of_rows(
        "silver.fact_assignment_canonical"
    )
