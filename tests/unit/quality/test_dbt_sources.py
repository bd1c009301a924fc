"""dbt's sources are those of the declarations: every published table, its grain, its rules and what it refers to."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import yaml

from exp_platform.lake.tables import TABLES, names
from exp_platform.paths import clone_root
from exp_platform.quality.dbt_sources import NAMESPACES, broken_by, sources_path, sources_text
from exp_platform.quality.rule import between, has_rows, in_set, matches, ordered, parameter


@cache
def declared() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load(sources_text())
    return {f"{source['name']}.{table['name']}": table for source in content["sources"] for table in source["tables"]}


def arguments_of(table: str, kind: str) -> list[dict[str, Any]]:
    return [test[kind]["arguments"] for test in declared()[table]["data_tests"] if kind in test]


def test_the_file_has_not_drifted() -> None:
    assert sources_path().read_text(encoding="utf-8") == sources_text(), "run `make docs-generated`"


def test_every_published_table_is_a_source_with_each_column_described() -> None:
    sources = declared()
    assert set(sources) == {name for name in TABLES if name.split(".")[0] in NAMESPACES}
    for name, entry in sources.items():
        assert {column["name"]: column["description"] for column in entry["columns"]} == TABLES[name].descriptions
        assert arguments_of(name, "one_row_per") == [{"columns": list(TABLES[name].grain)}]
        assert arguments_of(name, "holds")[0]["never_null"] == list(TABLES[name].required)


def test_rows_refer_to_the_registry_to_an_arm_and_to_the_rows_that_they_are_made_of() -> None:
    cohort = arguments_of(names.COHORT, "refers_to")
    assert [(test["columns"], test["to"]) for test in cohort] == [
        (["experiment_id"], "source('exp', 'experiment_registry')"),
        (["experiment_id", "variant_id"], "source('silver', 'dim_experiment_variant')"),
        (["experiment_id", "user_id"], "source('silver', 'fact_assignment_canonical')"),
    ]
    assert arguments_of(names.DECISION, "refers_to")[1]["allowed"] == {"variant_id": "all"}
    assert arguments_of(names.EXPERIMENT_REGISTRY, "refers_to") == []


def test_dbt_is_locked_with_hashes_and_duckdb_has_the_version_of_its_extensions() -> None:
    folder = clone_root() / "dbt"
    wanted = re.findall(r"^([a-z-]+)[=><]", (folder / "requirements.in").read_text(), flags=re.MULTILINE)
    locked = (folder / "requirements.txt").read_text()
    versions = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+)", locked, flags=re.MULTILINE))
    assert set(wanted) <= set(versions)
    assert len({version for name, version in versions.items() if name.startswith("duckdb")}) == 1
    packages = re.split(r"^(?=[a-z0-9])", locked, flags=re.MULTILINE)[1:]
    assert [package.split("==")[0] for package in packages if "--hash=sha256:" not in package] == []


def test_a_table_that_says_when_it_was_written_has_a_freshness() -> None:
    sources = declared()
    assert sources[names.LATEST_RESULTS]["config"]["loaded_at_field"] == "computed_at"
    assert sources[names.OUTCOMES]["config"]["loaded_at_field"] == "ingested_at"
    assert "config" not in sources[names.COHORT]


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        (in_set("status", ["ok", "it's"]), "status not in ('ok', 'it''s')"),
        (in_set("is_valid", [True]), "is_valid not in (true)"),
        (between("p", low=0, high=1), "p < 0 or p > 1"),
        (between("margin", low=0, strict=True), "margin <= 0"),
        (ordered("low", "high"), "low > high"),
        (ordered("low", "high", strict=True), "low >= high"),
        (matches("id", r"^[a-z]+\Z", "is an id"), r"not regexp_matches(id, '^[a-z]+\z')"),
        (in_set("variant_id", parameter("variants")), None),
        (has_rows(), None),
    ],
)
def test_a_rule_on_one_row_becomes_the_condition_that_breaks_it(rule: Any, condition: str | None) -> None:
    assert broken_by(rule) == condition
