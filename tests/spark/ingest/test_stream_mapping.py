"""A stream whose mapping changes is read again whole, says so, and lets no reader build on what it had read before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest_lake import DT, MICROSECONDS, IngestLake, at

from exp_platform.config.models import Stream
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.changes import only_appended
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import INGEST_STREAMS
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.pipelines.stream_run import stream_run

pytestmark = pytest.mark.spark
TABLE = "exp.stream_outcomes"


def ingested(lake: IngestLake, files: Path, run_id: str, **mapping: str) -> tuple[list[str], list[float]]:
    """Ingest the stream under a mapping; the log, and the values of its events."""
    columns = {"user_id": "uid", "metric_name": "event", "value": "amount", "outcome_ts": "at"} | mapping
    source = {"format": "parquet", "location": str(files), "columns": columns}
    content = {"name": "orders", "kind": "outcomes", "owner": "data", "source": source, "delivers": ["purchase"]}
    project = replace(lake.project, streams={"orders": Stream.model_validate(content)})
    lines: list[str] = []
    run = stream_run(project, "orders", DT, run_id)
    run_stage(run, INGEST_STREAMS, session=Session.given(lake.spark), say=lines.append)
    held = load_handle(project, TABLE).scan(row_filter="stream = 'orders'").to_arrow()
    return lines, sorted(held["value"].to_pylist())


def test_a_changed_mapping_is_said_and_replaces_the_events(lake: IngestLake, tmp_path: Path) -> None:
    time = at("2026-01-06T10:00:00")
    columns = {"uid": ["u1", "u2"], "event": ["purchase"] * 2, "amount": [2.0, 3.0]}
    pq.write_table(pa.table(columns | {"at": pa.array([time] * 2, MICROSECONDS)}), tmp_path / "a.parquet")
    _, values = ingested(lake, tmp_path, "s1")
    assert values == [2.0, 3.0]
    before = load_handle(lake.project, TABLE).current_snapshot()
    lines, values = ingested(lake, tmp_path, "s2", value="amount * 100")
    assert values == [200.0, 300.0]
    (said,) = [line for line in lines if "read every file again" in line]
    assert said.endswith("outcomes: read every file again: the contract, or the mapping changed")
    handle = load_handle(lake.project, TABLE)
    now = handle.current_snapshot()
    assert before is not None and now is not None
    assert not only_appended(handle, "stream.orders", before.snapshot_id, now.snapshot_id), "readers compute again"
