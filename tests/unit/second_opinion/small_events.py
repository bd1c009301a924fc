"""A handful of events in DuckDB, of which the second implementation makes users, sums, bins and panels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
from tests import hand_made as hm

from exp_platform.config.models import Metric
from exp_platform.second_opinion.raw_events import _create, _insert, in_contract_types
from exp_platform.second_opinion.recompute import make_users
from exp_platform.second_opinion.spine import Oracle

ID, START = "exp_test", datetime(2026, 1, 5, tzinfo=UTC)
DAY1 = date(2026, 1, 5)
Database = duckdb.DuckDBPyConnection


def at(hours: float) -> datetime:
    return datetime.fromtimestamp(START.timestamp() + hours * 3600, UTC)


@contextmanager
def database() -> Iterator[Database]:
    """A database with the tables of events, all empty."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for dataset in ("assignments", "exposures", "outcomes", "attributes"):
            _create(connection, dataset)
        yield connection


def put(db: Database, dataset: str, *rows: dict[str, Any]) -> None:
    table = pa.Table.from_pylist([{"experiment_id": ID} | row for row in rows])
    _insert(db, dataset, in_contract_types(table, dataset), ID, ["control", "treatment"])


def outcome(user: str, value: float, hours: float, name: str = "spend") -> dict[str, Any]:
    return {"user_id": user, "metric_name": name, "value": value, "outcome_ts": at(hours)}


def assigned(user: str, variant: str, hours: float = 1) -> dict[str, Any]:
    return {"user_id": user, "variant": variant, "assignment_ts": at(hours), "unit": "user"}


def attribute(user: str, value: str, dimension: str = "os") -> dict[str, Any]:
    return {"user_id": user, "dimension": dimension, "value": value, "attribute_ts": at(0)}


def users(db: Database, metrics: list[Metric], hours: float = 96) -> Oracle:
    """The users of an experiment of ten days with the dimension `os`, as of so many hours after its start."""
    plan = hm.plan(metrics, days=14, arms=("control", "treatment"))
    changed = {"start_ts": START, "end_ts": at(240), "dimensions": ("os",), "analysis_mode": "itt"}
    return make_users(db, plan.experiment.model_copy(update=changed), at(hours))
