"""Events with an id of their own, and the count of rows that repeat another where there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.ingest_lake import DT, IngestLake
from tests.spark.ingest.test_sources import elsewhere, mapped, outcomes

from exp_platform.ingest.repeats import PROPERTY, Repeats, decode
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import last_publication
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import TABLES

pytestmark = pytest.mark.spark
REVENUE = {"metric_name": "revenue"}


def event(user: str, value: float, event_id: str | None = None) -> str:
    row: dict[str, Any] = {"user_id": user, "value": value, "outcome_ts": "2026-01-06T10:00:00Z", "key": event_id}
    return json.dumps(row) + "\n"


def counted(lake: IngestLake) -> dict[str, Repeats]:
    table = TABLES["exp.outcomes"]
    last = last_publication(load_handle(lake.project, table.name), table, Scope(lake.experiment_id, DT))
    assert last is not None and last.summary is not None
    return decode(last.summary.additional_properties.get(PROPERTY))


def test_events_that_differ_in_their_id_are_two_events_also_a_day_later(lake: IngestLake) -> None:
    rows = [event("u1", 2, "a"), event("u1", 2, "b"), event("u1", 2, "b"), event("u2", 3), event("u2", 3)]
    location = elsewhere(lake, "a.json", "".join(rows))
    lake = mapped(lake, format="json", location=location, columns={"event_id": "key"}, constants=REVENUE)
    lake.run()
    assert [row[0] for row in outcomes(lake)] == ["u1", "u1", "u2"]
    assert counted(lake) == {}  # what has an id is no repeat by chance
    elsewhere(lake, "b.json", event("u1", 2, "b") + event("u1", 2, "c") + event("u2", 3))
    lake.run("r2")
    ids = lake.rows("exp.outcomes", "user_id", "event_id", "source_file")
    assert [(user, key, file[-6:]) for user, key, file in ids] == [
        ("u1", "a", "a.json"),
        ("u1", "b", "a.json"),
        ("u1", "c", "b.json"),
        ("u2", None, "a.json"),
    ]


def test_rows_that_repeat_another_are_counted_by_source_over_all_files(lake: IngestLake) -> None:
    location = elsewhere(lake, "a.json", event("u1", 2) * 3 + event("u2", 2))
    lake = mapped(lake, format="json", location=location, constants=REVENUE)
    lake.run()
    assert counted(lake)["revenue"] == Repeats(rows=4, dropped=2)
    elsewhere(lake, "b.json", event("u1", 2) + event("u3", 1) * 2)
    lake.run("r2")
    assert counted(lake)["revenue"] == Repeats(rows=7, dropped=4)
    lake.run("r3")
    assert counted(lake)["revenue"] == Repeats(rows=7, dropped=4)
    assert [row[0] for row in outcomes(lake)] == ["u1", "u2", "u3"]
