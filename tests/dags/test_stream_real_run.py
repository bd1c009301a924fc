"""The DAG of streams, run by Airflow itself in this process: each stream's day becomes an event of its asset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetAliasModel, AssetEvent
from airflow.sdk.exceptions import AirflowFailException
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from exp_platform.airflow import stream_tasks as streams
from exp_platform.airflow.jobs import SparkJobOperator
from exp_platform.config.load import Project, load_project

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Airflow writes the context of each task into the environment; the tests that follow get theirs back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_sound_stream_adds_its_day_to_its_asset_and_a_broken_one_does_not(
    project: Project, write_yaml: Callable[[Path, object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("broken", "sound"):
        source = {"format": "parquet", "location": f"data/streams/{name}"}
        content = {"name": name, "kind": "exposures", "owner": "data", "source": source}
        write_yaml(project.root / "configs" / "streams" / f"{name}.yaml", content)
        folder = Path(project.resolve(f"data/streams/{name}"))
        folder.mkdir(parents=True)
        (folder / "a.parquet").write_bytes(b"PAR1")
    assert not load_project(project.path).refusals()

    def job(self: Any, context: Any) -> None:
        if self.stream["stream"] == "broken":
            raise AirflowFailException("stream.broken: raw data are refused")

    told: list[str] = []
    monkeypatch.setattr(SparkJobOperator, "execute", job)
    monkeypatch.setattr(streams, "alert_stream", lambda _, wanted, *__, **___: told.append(wanted["stream"]))
    initdb()
    dag = DagBag(dag_folder=str(Path(__file__).resolve().parents[2] / "dags")).dags["ingest_streams"]
    run = dag.test(run_conf={"config": str(project.path)})
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        found = [(event.asset.name, event.extra["run_id"], event.extra["dt"]) for event in events]
        (alias,) = session.scalars(select(AssetAliasModel).where(AssetAliasModel.name == streams.DAYS.name)).all()
        assert [asset.name for asset in alias.assets] == ["stream/sound"]
        # The reason why a waiting task can't ask for it by name: Airflow answers for assets that a DAG declares.
        assert [asset.active for asset in alias.assets] == [None]
    assert [(name, run_id) for name, run_id, _ in found] == [
        ("stream/sound", f"sound__{found[0][2]}__{run.run_id}"[:200])
    ]
    assert told == ["broken"]
