"""A real Airflow: triggered through its REST API, killed in mid-run, backfilled, and looked at with a browser."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.airflow_rig import Rig, wait_until

from exp_platform.airflow.client import ApiError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

WAITING_DAG = Path(__file__).resolve().parents[2] / "docs" / "examples" / "after_checkout_button.py"
RUN_SECONDS = 400


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Airflow up, with one more DAG that waits for exp_good to pass."""
    rig = Rig(tmp_path_factory.mktemp("scheduler"))
    started = rig.local("up")
    assert started.returncode == 0, started.stdout + started.stderr
    yield rig
    rig.local("down")


def trigger(rig: Rig, run_id: str, **conf: Any) -> None:
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
    rig.client().send("POST", "/dags/experiment_analysis/dagRuns", body)


def run_state(rig: Rig, dag_id: str, run_id: str) -> str:
    return str(rig.client().get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])


def ended(rig: Rig, dag_id: str, run_id: str) -> str | None:
    state = run_state(rig, dag_id, run_id)
    return state if state in ("success", "failed") else None


def task_states(rig: Rig, dag_id: str, run_id: str) -> dict[str, str]:
    found = rig.client().get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in found}


def decided_days(rig: Rig, experiment_id: str) -> list[str]:
    rows = read_rows(load_handle(rig.project, "gold.fct_experiment_decision"), {"experiment_id": experiment_id})
    return sorted(row["dt"].isoformat() for row in rows if row["variant_id"] == "all")


@pytest.mark.parametrize("conf", [{"experiment_id": "exp_good\n"}, {"experiment_id": "exp_good", "dt": "tomorrow"}, {}])
def test_bad_conf_is_refused_by_the_server_before_there_is_a_run(rig: Rig, conf: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        trigger(rig, "bad", **conf)
    assert caught.value.status in (400, 422)
    with pytest.raises(ApiError, match="404"):
        run_state(rig, "experiment_analysis", "bad")


def test_a_run_survives_the_death_of_the_scheduler(rig: Rig) -> None:
    trigger(rig, "first", experiment_id="exp_good", generate_synth=True)
    wait_until(
        "ingest_events runs",
        lambda: task_states(rig, "experiment_analysis", "first").get("ingest_events") == "running",
        RUN_SECONDS,
    )
    services = json.loads((rig.home.folder / "services.json").read_text())["pids"]
    os.killpg(services["scheduler"], signal.SIGKILL)
    time.sleep(2)
    assert rig.local("up").returncode == 0  # starts again what is missing
    state = wait_until("the run ends", lambda: ended(rig, "experiment_analysis", "first"), RUN_SECONDS)
    assert state == "success", task_states(rig, "experiment_analysis", "first")
    assert len(decided_days(rig, "exp_good")) == 1
