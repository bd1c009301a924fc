"""The DAG of streams: which it finds, what it waits for, how it tells which day is there, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from pyiceberg.expressions import AlwaysTrue
from tests.empty_lake import empty_lake

from exp_platform.airflow import stream_tasks as streams
from exp_platform.airflow.alerting import blocked_by_stream
from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.airflow.landing import RawReady, has_landed, late_streams
from exp_platform.alerts.book import record
from exp_platform.alerts.model import crash_alert
from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import ensure_tables, load_catalog, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.ledger.manifest import StageManifest

pytestmark = pytest.mark.airflow

ID = "exp_checkout_button_001"
DT = "2026-01-10"


@pytest.fixture
def reading(project: Project, write_yaml: Callable[[Path, object], Path]) -> Project:
    """The experiment reads its exposures from a log that many experiments write to."""
    import yaml

    source = {"format": "parquet", "location": "data/streams/seen"}
    content = {"name": "seen", "kind": "exposures", "owner": "data", "source": source, "freshness_hours": 2}
    write_yaml(project.root / "configs" / "streams" / "seen.yaml", content)
    path = project.root / "configs" / "experiments" / f"{ID}.yaml"
    write_yaml(path, yaml.safe_load(path.read_text()) | {"streams": {"exposures": ["seen"]}})
    loaded = load_project(project.path)
    assert loaded.refusals() == []
    return loaded


def wanted(project: Project) -> dict[str, Any]:
    return {"stream": "seen", "dt": DT, "config": str(project.path), "freshness_hours": 2}


def land(project: Project, name: str) -> None:
    path = project.root / "data" / "streams" / "seen" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1")


def ingested(project: Project, dt: str, status: str = "ok", owner: str = "stream.seen", run: str = "s") -> None:
    """A run as ops.run_manifest keeps it."""
    catalog, day = load_catalog(project), date.fromisoformat(dt)
    ensure_tables(project, catalog)
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    stage = "ingest_streams" if owner.startswith("stream.") else "ingest_events"
    row = StageManifest(project, catalog, owner, f"{run}{dt}", day, stage, "c", "v", at)
    row.add("exp.stream_exposures", "published", 1, 1, 1.0, status, None if status == "ok" else "broken")
    row.flush()


def test_each_stream_is_ingested_for_the_day_before_the_firing_instant(reading: Project) -> None:
    found = streams.streams_to_ingest(str(reading.path), datetime(2026, 1, 11, tzinfo=UTC))
    assert found == [wanted(reading)]


def test_a_stream_has_landed_with_files_of_the_day_or_a_later_one(reading: Project) -> None:
    config = str(reading.path)
    assert not streams.has_landed(config, "seen", DT)
    land(reading, "dt=2026-01-09/a.parquet")
    assert not streams.has_landed(config, "seen", DT)
    land(reading, f"dt={DT}/a.parquet")
    assert streams.has_landed(config, "seen", DT)


def test_files_without_a_day_in_their_path_count_as_landed(reading: Project) -> None:
    land(reading, "a.parquet")
    assert streams.has_landed(str(reading.path), "seen", DT)


def test_a_stream_is_awaited_without_a_worker_and_told_once_when_it_is_late(
    reading: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = streams.StreamLanded(task_id="landed", stream=wanted(reading))
    with pytest.raises(TaskDeferred):
        task.execute({})
    trigger = streams.StreamLandedTrigger(str(reading.path), "seen", DT, time.time() + 0.1, 0.05)
    assert dict(asyncio.run(anext(trigger.run())).payload) == {"landed": False}
    told: list[str] = []
    monkeypatch.setattr(streams, "alert_stream", lambda context, one, subject, sentence: told.append(sentence))
    with pytest.raises(AirflowFailException, match=f"stream seen has no files of {DT} after 2 h"):
        task.resume({}, {"landed": False})
    assert len(told) == 1
    task.resume({}, {"landed": True})


def test_the_asset_of_a_stream_says_which_day_is_there(reading: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkJobOperator, "execute", lambda self, context: None)
    added: list[tuple[str, dict[str, Any]]] = []
    event = SimpleNamespace(add=lambda asset, extra: added.append((asset.name, extra)))
    task = streams.IngestStream(task_id="ingest", stream=wanted(reading))
    context: Any = {"outlet_events": {streams.DAYS: event}, "run_id": "daily"}
    task.execute(context)
    assert added == [("stream/seen", {"dt": DT, "run_id": f"seen__{DT}__daily"})]
    config, arguments = task.job_arguments(context)
    assert arguments == [f"--config={config}", "--stream=seen", f"--dt={DT}", f"--run-id=seen__{DT}__daily"]


def test_a_broken_contract_alerts_once_for_the_stream(reading: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, context: object) -> None:
        raise AirflowFailException("stream.seen: raw data are refused")

    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(SparkJobOperator, "execute", broken)
    monkeypatch.setattr(streams, "alert_stream", lambda *words, contract: told.append((words[3], contract)))
    with pytest.raises(AirflowFailException):
        streams.IngestStream(task_id="ingest", stream=wanted(reading)).execute({})
    assert told == [("stream.seen: raw data are refused", True)]


def test_an_experiment_waits_for_its_streams_and_names_the_late_one(
    reading: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = Path(reading.raw_folder(ID)) / "outcomes" / f"dt={DT}"
    outcomes.mkdir(parents=True)
    (outcomes / "part-0.parquet").write_bytes(b"PAR1")
    ingested(reading, "2026-01-09")
    assert late_streams(reading, ID, DT) == ["seen"]
    assert not has_landed(str(reading.path), ID, DT)
    monkeypatch.setattr(RawReady, "_alert_streams", lambda self, context, late: None)
    conf = {"experiment_id": ID, "dt": DT, "config": str(reading.path), "timeout_hours": 6}
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(xcom_push=pushed.__setitem__)}
    with pytest.raises(AirflowFailException, match=f"seen not ingested for {DT} after 6 h"):
        RawReady(task_id="raw_ready", experiment=conf).resume(context, {"landed": False})
    assert "seen not ingested" in str(pushed)
    ingested(reading, DT)
    assert has_landed(str(reading.path), ID, DT)


def test_a_blocked_stream_is_not_awaited_and_its_reader_sends_no_alert(reading: Project) -> None:
    ingested(reading, DT, "blocked")
    assert late_streams(reading, ID, DT) == []
    ingested(reading, DT, "blocked by a stream", owner=ID, run="r")
    assert blocked_by_stream(reading, ID, f"r{DT}")
    ingested(reading, DT, "blocked", owner=ID, run="q")
    assert not blocked_by_stream(reading, ID, f"q{DT}")


def task_instance() -> SimpleNamespace:
    return SimpleNamespace(
        xcom_push=lambda *_: None, dag_id="daily_experiments", run_id="daily", task_id="raw_ready", map_index=0
    )


def test_all_readers_of_a_late_stream_cause_one_alert_about_the_stream(
    reading: Project, write_yaml: Callable[[Path, object], Path]
) -> None:
    import yaml

    other = "exp_add_cart_002"
    path = reading.root / "configs" / "experiments" / f"{other}.yaml"
    write_yaml(path, yaml.safe_load(path.read_text()) | {"streams": {"exposures": ["seen"]}})
    empty_lake(reading)
    for one in (ID, other):
        conf = {"experiment_id": one, "dt": DT, "config": str(reading.path), "timeout_hours": 6}
        context: Any = {"ti": task_instance(), "run_id": "daily"}
        with pytest.raises(AirflowFailException, match=f"{one}: seen not ingested for {DT} after 6 h"):
            RawReady(task_id="raw_ready", experiment=conf).resume(context, {"landed": False})
    (told,) = read_rows(load_handle(reading, "ops.alerts"), AlwaysTrue())
    assert (told["experiment_id"], told["state"]) == ("stream.seen", "pending")
    assert f"stream seen was not ingested for {DT}" in told["payload"]
    assert "memo" not in told["payload"], "a stream has no memo"


def test_readers_are_silent_about_a_late_stream_that_has_its_alert(reading: Project) -> None:
    empty_lake(reading)
    record(reading, [crash_alert("stream.seen", date.fromisoformat(DT), "landed", "no files")], "s", datetime.now(UTC))
    conf = {"experiment_id": ID, "dt": DT, "config": str(reading.path), "timeout_hours": 6}
    context: Any = {"ti": task_instance(), "run_id": "daily"}
    with pytest.raises(AirflowFailException):
        RawReady(task_id="raw_ready", experiment=conf).resume(context, {"landed": False})
    assert len(read_rows(load_handle(reading, "ops.alerts"), AlwaysTrue())) == 1
