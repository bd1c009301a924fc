"""kill -9 of the supervisor of a running task, in a real Airflow whose scheduler lives on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.airflow_rig import Rig, differing_tables, direct_runs, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]

DAY = date(2026, 1, 19)
STAGE = "build_unit_outcomes"
RUN_SECONDS = 1800


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Airflow up over one healthy experiment; it gives up a task of which it has not heard for a minute."""
    rig = Rig(tmp_path / "killed", "exp_good")
    try:
        rig.up()
        yield rig
    finally:
        rig.down()


def jobs_of(rig: Rig, stage: str) -> list[psutil.Process]:
    """The processes of a stage: the guard that starts its Spark application, spark-submit, its JVM, the driver."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith(f"{stage}.py") for word in words) and any(str(rig.folder) in word for word in words):
            found.append(process)
    return found


def supervisor_of(rig: Rig, job: psutil.Process) -> psutil.Process:
    """The process that supervises the task of a job: a worker of the executor, which the scheduler has started."""
    scheduler = json.loads((rig.home.folder / "services.json").read_text())["pids"]["scheduler"]
    return next(process for process in job.parents() if process.ppid() == scheduler)


def test_a_stage_whose_supervisor_is_killed_publishes_nothing_and_is_tried_again(
    rig: Rig, tmp_path: Path, spark: Any
) -> None:
    body = {
        "dag_run_id": "killed",
        "logical_date": None,
        "conf": {"experiment_id": "exp_good", "dt": DAY.isoformat(), "generate_synth": True},
    }
    rig.client().send("POST", "/dags/experiment_analysis/dagRuns", body)
    guard = wait_until("the stage runs", lambda: jobs_of(rig, STAGE), RUN_SECONDS)[0]
    wait_until("its Spark application starts", guard.children, 60, every=0.1)
    for process in guard.children(recursive=True):
        process.suspend()  # so that it can't end because it is done
    supervisor_of(rig, guard).kill()
    wait_until("its Spark application ends by itself", lambda: not jobs_of(rig, STAGE), 60)
    wait_until("the run ends", lambda: rig.ended("experiment_analysis", "killed"), RUN_SECONDS)
    finished = rig.finished("experiment_analysis", "killed")
    assert (finished.state, finished.tasks[STAGE]) == ("success", "success"), finished
    assert finished.tries[STAGE] == 2 and set(finished.tries.values()) <= {0, 1, 2}
    assert differing_tables(rig.project, direct_runs(rig, tmp_path, "exp_good", [DAY], spark), "exp_good", [DAY]) == []
