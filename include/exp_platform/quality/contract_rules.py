"""The rules that follow from the contracts: lake/tables.py for every table, JSON schemas for the incoming datasets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from exp_platform.lake.tables import Table
from exp_platform.quality.rule import Rule, between, in_set, matches, parameter
from exp_platform.schemas import DATASETS, load_schema, stream_schema

LARGEST = sys.float_info.max


def contract_rules(table: Table) -> Iterator[Rule]:
    """Every rule that follows from a table's declaration and, for a dataset, from its JSON schema."""
    yield from _declared(table)
    dataset = table.name.removeprefix("exp.")
    if table.of_streams:
        for column, spec in stream_schema(dataset.removeprefix("stream_"))["properties"].items():
            # Arms and ids are those of many experiments, registered or not: who reads the stream judges its own rows.
            mine = {key: value for key, value in spec.items() if key not in ("x-must-be", "pattern")}
            yield from _specified(column, mine)
    elif table.name.startswith("exp.") and dataset in (*DATASETS, "experiment_registry"):
        for column, spec in load_schema(dataset)["properties"].items():
            yield from _specified(column, spec)


def _declared(table: Table) -> Iterator[Rule]:
    """Rules on columns, nulls, grain and finite numbers; lake/row_audit.py checks them before every publication."""
    columns = {"column_set": list(table.columns), "exact_match": True}
    yield Rule("columns as declared", "expect_table_columns_to_match_set", columns, in_publish=True)
    for column in table.required:
        null = {"column": column}
        yield Rule(f"{column} is never null", "expect_column_values_to_not_be_null", null, in_publish=True)
    grain = f"one row per {' × '.join(table.grain)}"
    if len(table.grain) == 1:
        yield Rule(grain, "expect_column_values_to_be_unique", {"column": table.grain[0]}, in_publish=True)
    else:
        keys = {"column_list": list(table.grain)}
        yield Rule(grain, "expect_compound_columns_to_be_unique", keys, in_publish=True)
    for column, kind in table.types.items():
        if kind == "double":
            finite = {"column": column, "min_value": -LARGEST, "max_value": LARGEST}
            yield Rule(f"{column} is finite", "expect_column_values_to_be_between", finite, in_publish=True)


def _specified(column: str, spec: dict[str, Any]) -> Iterator[Rule]:
    """The rules that follow from one property of a JSON schema."""
    if "enum" in spec:
        yield in_set(column, spec["enum"])
    if "pattern" in spec:
        yield matches(column, spec["pattern"], "has the form of an experiment id")
    if spec.get("minLength"):
        lengths = {"column": column, "min_value": spec["minLength"]}
        yield Rule(f"{column} is not empty", "expect_column_value_lengths_to_be_between", lengths)
    if spec.get("x-must-be") == "variant":
        yield in_set(column, parameter("variants"))
    if "minimum" in spec:
        yield between(column, low=spec["minimum"])
    if "exclusiveMinimum" in spec:
        yield between(column, low=spec["exclusiveMinimum"], high=spec.get("exclusiveMaximum"), strict=True)
