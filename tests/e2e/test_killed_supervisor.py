"""kill -9 of the supervisor of a running task, in a real Airflow whose scheduler lives on."""

from __future__ import annotations

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
BEATS = "task_instance_heartbeat_timeout = 30"  # seconds after which a task without a supervisor is given up


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Airflow up over one healthy experiment; it soon gives up a task of which it no longer hears."""
    rig = Rig(tmp_path / "killed", "exp_good")
    settings = rig.home.folder / "airflow.cfg"
    settings.write_text(settings.read_text().replace("[scheduler]\n", f"[scheduler]\n{BEATS}\n"))
    try:
        rig.up()
        yield rig
    finally:
        rig.down()


def jobs_of(rig: Rig, stage: str) -> list[psutil.Process]:
    """The processes of a stage's Spark application: spark-submit, its JVM, the driver in Python."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith(f"{stage}.py") for word in words) and any(str(rig.folder) in word for word in words):
            found.append(process)
    return found


def supervisor_of(job: psutil.Process) -> psutil.Process:
    """The process that supervises the task of a job: the parent of the task, which started spark-submit."""
    above = [job, *job.parents()]
    first = next(i for i, process in enumerate(above) if "airflow" in " ".join(process.cmdline()))
    return above[first + 1]  # the task itself was forked from it


def test_a_stage_whose_supervisor_is_killed_publishes_nothing_and_is_tried_again(
    rig: Rig, tmp_path: Path, spark: Any
) -> None:
    body = {
        "dag_run_id": "killed",
        "logical_date": None,
        "conf": {"experiment_id": "exp_good", "dt": DAY.isoformat(), "generate_synth": True},
    }
    rig.client().send("POST", "/dags/experiment_analysis/dagRuns", body)
    job = wait_until("the stage runs", lambda: jobs_of(rig, STAGE), RUN_SECONDS)[0]
    supervisor_of(job).kill()
    wait_until("its Spark application ends by itself", lambda: not jobs_of(rig, STAGE), 60)
    wait_until("the run ends", lambda: rig.ended("experiment_analysis", "killed"), RUN_SECONDS)
    finished = rig.finished("experiment_analysis", "killed")
    assert (finished.state, finished.tasks[STAGE]) == ("success", "success"), finished
    assert finished.tries[STAGE] == 2 and set(finished.tries.values()) <= {0, 1, 2}
    assert differing_tables(rig.project, direct_runs(rig, tmp_path, "exp_good", [DAY], spark), "exp_good", [DAY]) == []
