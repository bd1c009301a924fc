"""The second implementation takes of a stream what an experiment reads: its own logs in its arms, delivered names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from tests.conftest import make_project
from tests.published_lake import append_by_user

from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.second_opinion.raw_events import NotChecked, Pinned, load_events

ID = "exp_checkout_button_001"
AT = datetime(2026, 1, 6, 10, tzinfo=UTC)
ASSIGNMENTS, OUTCOMES = "exp.stream_assignments", "exp.stream_outcomes"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An experiment that reads its assignments and outcomes from streams, and the rows of these and others."""
    project = make_project(tmp_path_factory.mktemp("streams"))
    folder = project.root / "configs"
    sources = ["revenue", "sessions", "conversion", "latency", "visit"]
    for name, kind in (("log", "assignments"), ("shop", "outcomes")):
        content: dict[str, Any] = {"name": name, "kind": kind, "owner": "data"}
        content["source"] = {"format": "parquet", "location": f"data/streams/{name}"}
        content |= {"delivers": sources} if kind == "outcomes" else {}
        (folder / "streams").mkdir(exist_ok=True)
        (folder / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    path = folder / "experiments" / f"{ID}.yaml"
    reads = {"streams": {"assignments": ["log"], "outcomes": ["shop"]}, "metrics": ["revenue"], "guardrails": []}
    content = yaml.safe_load(path.read_text()) | reads | {"primary_metric": "revenue"}
    path.write_text(yaml.safe_dump(content))
    project = load_project(project.path)
    append(project, ASSIGNMENTS, "log", "variant", "assignment_ts", [
        ("u1", {"variant": "control"}), ("u2", {"variant": "treatment"}), ("u3", {"variant": "of_nobody"}),
        ("u4", {"variant": "control", "experiment_id": "exp_add_cart_002"}),
        ("u5", {"variant": "control", "stream": "another_log"}),
    ])  # fmt: skip
    append(project, OUTCOMES, "shop", "metric_name", "outcome_ts", [
        ("u1", {"metric_name": "revenue", "value": 2.5}), ("u1", {"metric_name": "not_delivered"}),
        ("u2", {"metric_name": "revenue", "stream": "another_shop"}),
    ])  # fmt: skip
    return project


def append(
    project: Project, name: str, stream: str, named: str, time: str, rows: list[tuple[str, dict[str, Any]]]
) -> None:
    table = TABLES[name]
    common = {"stream": stream, "experiment_id": ID, time: AT, "unit": "user", "value": 1.0, "ingested_at": AT}
    blank = {"source_file": "a"}
    full = [{c: (common | blank | {"user_id": user} | row).get(c) for c in table.columns} for user, row in rows]
    append_by_user(project, name, pa.Table.from_pylist(full, schema=nullable(arrow_schema(table))))


def nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def pinned(project: Project, *names: str) -> Pinned:
    now = {name: load_handle(project, name).current_snapshot() for name in names}
    return Pinned(AT, {name: snapshot.snapshot_id for name, snapshot in now.items() if snapshot is not None})


def test_events_of_streams_are_those_that_the_experiment_reads(project: Project) -> None:
    experiment = project.experiment(ID)
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        as_ingested = load_events(db, project, experiment, pinned(project, ASSIGNMENTS, OUTCOMES))
        users = db.sql("SELECT user_id, variant, experiment_id, assignment_ts FROM assignments ORDER BY 1").fetchall()
        bought = db.sql("SELECT * FROM outcomes").fetchall()
    assert as_ingested == ["assignments", "outcomes"]
    at = AT.replace(tzinfo=None)
    assert users == [("u1", "control", ID, at), ("u2", "treatment", ID, at)]
    assert bought == [(ID, "u1", "revenue", 2.5, at)]


def test_a_stream_whose_snapshot_is_not_known_is_not_checked(project: Project) -> None:
    with duckdb.connect() as db, pytest.raises(NotChecked, match=r"snapshot of exp\.stream_outcomes that it read"):
        load_events(db, project, project.experiment(ID), pinned(project, ASSIGNMENTS))
