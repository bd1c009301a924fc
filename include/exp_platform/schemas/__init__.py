"""The contracts of the incoming datasets; event tables, checks, generator and suites are made from them."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

DATASETS = ("assignments", "exposures", "outcomes", "attributes")
LOGS = ("assignments", "exposures")  # their events carry the id of an experiment


@cache
def load_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a dataset, or of `experiment_registry`."""
    text = resources.files(__package__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def contract_columns(name: str, *, optional: bool = False) -> dict[str, str]:
    """Column -> Iceberg type, in the contract's order; with `optional` also those that only some sources have."""
    properties = load_schema(name)["properties"].items()
    return {column: spec["x-iceberg-type"] for column, spec in properties if optional or not spec.get("x-optional")}


def stream_schema(dataset: str) -> dict[str, Any]:
    """The JSON schema of a stream's rows: logs keep the id of their experiment, outcomes and attributes have none."""
    schema = load_schema(dataset)
    if dataset in LOGS:
        return schema
    properties = {column: spec for column, spec in schema["properties"].items() if column != "experiment_id"}
    required = [column for column in schema["required"] if column != "experiment_id"]
    return schema | {"properties": properties, "required": required}


def stream_columns(dataset: str, *, optional: bool = False) -> dict[str, str]:
    """Column -> Iceberg type of a stream's rows; with `optional` also those that only some sources have."""
    properties = stream_schema(dataset)["properties"].items()
    return {column: spec["x-iceberg-type"] for column, spec in properties if optional or not spec.get("x-optional")}


def required_columns(name: str) -> tuple[str, ...]:
    """The columns of a dataset that may not be null."""
    return tuple(load_schema(name)["required"])


def event_time_column(dataset: str) -> str:
    """The column with the time at which an event of the dataset happened."""
    column: str = load_schema(dataset)["x-event-time"]
    return column
