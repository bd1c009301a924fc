"""dbt/models/experiments/sources.yml, written from the tables' declarations and rules (`make docs-generated`).

The published tables of `exp`, `silver` and `gold` are dbt sources with their descriptions, their grain, the rules that
can be said of one row, the rows that they refer to, and how old they may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from exp_platform.lake.tables import TABLES, Table, names
from exp_platform.paths import clone_root
from exp_platform.quality.rule import Rule
from exp_platform.quality.suites import table_rules
from exp_platform.quality.table_rules import TABLE_RULES

_HEAD = """# Generated from include/exp_platform/lake/tables/ and include/exp_platform/quality/table_rules.py by
# `make docs-generated`; do not edit.
"""
NAMESPACES = {
    "exp": "Data that comes in, and answers that go out.",
    "silver": "Canonical facts about experiments, arms and users.",
    "gold": "Quality, cohort, sums, verdicts and decisions.",
}
FRESH = {"warn_after": {"count": 2, "period": "day"}}  # an experiment that has ended brings nothing new: a warning
_LOADED_AT = ("computed_at", "ingested_at", "updated_at")
_BY_USER = ("experiment_id", "user_id")
# Rows that one table's rows must have in another; beside them every experiment_id is in the registry.
PARENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    names.COHORT: (names.FACT_ASSIGNMENT, _BY_USER),
    names.UNIT_OUTCOMES: (names.COHORT, _BY_USER),
    names.LATEST_RESULTS: (names.ANALYSIS_RESULTS, ("experiment_id", "dt", "metric_name", "variant_id")),
    names.GUARDRAIL_STATUS: (names.ANALYSIS_RESULTS, ("experiment_id", "dt", "metric_name", "variant_id")),
}


class _Plain(yaml.SafeDumper):
    """Lists are indented below their key, and nothing is an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def sources_path() -> Path:
    """The generated file of the clone."""
    return clone_root() / "dbt" / "models" / "experiments" / "sources.yml"


def sources_text() -> str:
    """The generated file's content."""
    content = {"version": 2, "sources": [_source(name, doc) for name, doc in NAMESPACES.items()]}
    return _HEAD + yaml.dump(content, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def _source(namespace: str, doc: str) -> dict[str, Any]:
    tables = [table for table in TABLES.values() if table.name.startswith(f"{namespace}.")]
    return {"name": namespace, "schema": namespace, "description": doc, "tables": [_table(table) for table in tables]}


def _table(table: Table) -> dict[str, Any]:
    rules = table_rules(table.name) if table.name in TABLE_RULES else ()
    entry: dict[str, Any] = {
        "name": table.name.split(".")[1],
        "description": f"{table.doc} One row per {' × '.join(table.grain)}.",
    }
    if loaded_at := next((column for column in _LOADED_AT if column in table.columns), None):
        entry["config"] = {"loaded_at_field": loaded_at, "freshness": FRESH}
    entry["data_tests"] = [
        _test(table, "one_row_per", "one_row_per_grain", {"columns": list(table.grain)}),
        *(_test(table, "refers_to", f"refers_to__{parent}", arguments) for parent, arguments in _parents(table, rules)),
        _test(table, "holds", "holds", {"never_null": list(table.required), "rules": list(_holds(rules))}),
    ]
    entry["columns"] = [
        {"name": column, "description": table.descriptions[column], "data_type": kind}
        for column, kind in table.types.items()
    ]
    return entry


def _test(table: Table, kind: str, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"name": f"{table.name.replace('.', '__')}__{what}", "arguments": arguments}}


def _parents(table: Table, rules: tuple[Rule, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables that a table's rows refer to, by their short names, with the arguments of dbt's test."""
    if "experiment_id" in table.columns and table.name != names.EXPERIMENT_REGISTRY:
        yield _reference(names.EXPERIMENT_REGISTRY, ("experiment_id",))
    for rule in rules:
        named = rule.arguments.get("value_set")
        if rule.arguments.get("column") == "variant_id" and isinstance(named, dict):
            besides = {"allowed": {"variant_id": "all"}} if named["$PARAMETER"] == "variants_and_all" else {}
            yield _reference(names.DIM_EXPERIMENT_VARIANT, ("experiment_id", "variant_id"), besides)
    if parent := PARENTS.get(table.name):
        yield _reference(*parent)


def _reference(
    to: str, columns: tuple[str, ...], besides: Mapping[str, Any] = MappingProxyType({})
) -> tuple[str, dict[str, Any]]:
    namespace, name = to.split(".")
    return name, {"columns": list(columns), "to": f"source('{namespace}', '{name}')", **besides}


def _holds(rules: tuple[Rule, ...]) -> Iterator[dict[str, str]]:
    for rule in rules:
        if not rule.in_publish and rule.severity == "critical" and (broken := broken_by(rule)):
            yield {"rule": rule.text, "broken": broken}


def broken_by(rule: Rule) -> str | None:
    """The SQL condition under which one row breaks a rule; None for a rule that is not about a row's own values."""
    arguments = rule.arguments
    column = arguments.get("column")
    if rule.kind == "expect_column_values_to_be_in_set" and isinstance(arguments["value_set"], list):
        return f"{column} not in ({', '.join(map(_literal, arguments['value_set']))})"
    if rule.kind == "expect_column_values_to_be_between":
        low, high = arguments.get("min_value"), arguments.get("max_value")
        below = [f"{column} {'<=' if arguments.get('strict_min') else '<'} {low}"] if low is not None else []
        above = [f"{column} {'>=' if arguments.get('strict_max') else '>'} {high}"] if high is not None else []
        return " or ".join([*below, *above])
    if rule.kind == "expect_column_pair_values_a_to_be_greater_than_b":
        return f"{arguments['column_B']} {'>' if arguments['or_equal'] else '>='} {arguments['column_A']}"
    if rule.kind == "expect_column_values_to_match_regex":
        pattern = arguments["regex"].replace(r"\Z", r"\z")  # the end of the text, as DuckDB's expressions write it
        return f"not regexp_matches({column}, {_literal(pattern)})"
    if rule.kind == "expect_column_value_lengths_to_be_between":
        return f"length({column}) < {arguments['min_value']}"
    return None


def _literal(value: object) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()


if __name__ == "__main__":
    sources_path().write_text(sources_text(), encoding="utf-8")
