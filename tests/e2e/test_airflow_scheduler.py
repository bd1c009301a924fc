"""A real Airflow: triggered through its REST API, killed in mid-run, backfilled, and looked at with a browser."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.airflow_rig import Rig, differing_tables, direct_runs, wait_until
from tests.e2e.browser import CHROMEDRIVER, CHROMIUM, Browser

from exp_platform.airflow.client import ApiError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RUN_SECONDS = 1500
FIRST = "first_run"
EARLIER, LATEST = date(2026, 1, 18), date(2026, 1, 19)  # the last two days on which exp_good is due
WAITING = """
from airflow.sdk import DAG, Asset, get_current_context, task

with DAG("waits_for_exp_good", schedule=[Asset("experiment_passed/exp_good")], catchup=False):

    @task
    def act():
        event = get_current_context()["triggering_asset_events"][Asset("experiment_passed/exp_good")][-1]
        return event.extra

    act()
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Airflow up, with a further DAG that waits for exp_good, an experiment without data and a broken registry file."""
    rig = Rig(tmp_path_factory.mktemp("scheduler"), "exp_good", "exp_late", landing={"timeout_hours": 0.005})
    (rig.home.dags / "waits_for_exp_good.py").write_text(WAITING)
    (rig.folder / "configs" / "experiments" / "exp_broken.yaml").write_text("experiment_id: exp_broken\nowner: [\n")
    try:
        rig.up()
        yield rig
    finally:
        rig.down()


def trigger(rig: Rig, run_id: str, **conf: Any) -> None:
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
    rig.client().send("POST", "/dags/experiment_analysis/dagRuns", body)


def task_states(rig: Rig, dag_id: str, run_id: str) -> dict[str, str]:
    found = rig.client().get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    names = [f"{t['task_id']}[{t['rendered_map_index']}]" if t["map_index"] >= 0 else t["task_id"] for t in found]
    return dict(zip(names, [t["state"] for t in found], strict=True))


def decisions(rig: Rig, experiment_id: str) -> dict[str, dict[str, Any]]:
    rows = read_rows(load_handle(rig.project, "gold.fct_experiment_decision"), {"experiment_id": experiment_id})
    return {row["dt"].isoformat(): row for row in rows if row["variant_id"] == "all"}


@pytest.mark.parametrize("conf", [{"experiment_id": "exp_goood"}, {"experiment_id": "exp_good", "dt": "tomorrow"}, {}])
def test_bad_conf_is_refused_by_the_server_before_there_is_a_run(rig: Rig, conf: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        trigger(rig, "bad", **conf)
    assert caught.value.status in (400, 422)
    with pytest.raises(ApiError, match="404"):
        rig.client().get("/dags/experiment_analysis/dagRuns/bad")


@pytest.fixture(scope="module")
def first_run(rig: Rig) -> dict[str, str]:
    """A run during which the scheduler was killed and started again: the states of its tasks."""
    trigger(rig, FIRST, experiment_id="exp_good", dt=LATEST.isoformat(), generate_synth=True)
    running = "select 1 from task_instance where task_id = 'generate_events' and state in ('queued', 'running')"
    wait_until("generate_events runs", lambda: rig.query(running), RUN_SECONDS)
    services = json.loads((rig.home.folder / "services.json").read_text())["pids"]
    os.killpg(services["scheduler"], signal.SIGKILL)
    time.sleep(2)
    rig.up()
    wait_until("the run ends", lambda: rig.ended("experiment_analysis", FIRST), RUN_SECONDS)
    return task_states(rig, "experiment_analysis", FIRST)


def test_a_run_survives_the_death_of_the_scheduler(rig: Rig, first_run: dict[str, str]) -> None:
    assert rig.ended("experiment_analysis", FIRST) == "success", first_run
    assert len(decisions(rig, "exp_good")) == 1


def test_a_healthy_run_is_green_from_end_to_end_and_writes_its_memo(rig: Rig, first_run: dict[str, str]) -> None:
    not_run = {task: state for task, state in first_run.items() if state != "success"}
    assert not_run == {"watcher": "skipped"}
    assert "exp_good" in (Path(rig.project.resolve(rig.project.profile.memo_dir)) / "exp_good.md").read_text()


def test_logs_are_short_and_say_what_was_read_and_written(rig: Rig, first_run: dict[str, str]) -> None:
    for stage in ("build_assignments", "validate_exposures", "build_unit_outcomes", "aggregate_metrics"):
        path = f"/dags/experiment_analysis/dagRuns/{FIRST}/taskInstances/{stage}/logs/1?full_content=true"
        lines = [entry["event"] for entry in rig.client().get(path)["content"]]
        assert any("read" in line for line in lines) and any("wrote" in line for line in lines), lines
        assert not [line for line in lines if " INFO " in line]  # of Spark's own log only warnings are shown
        assert len(lines) < 60, lines


def test_whoever_waits_for_the_experiment_is_told_which_run_passed(rig: Rig, first_run: dict[str, str]) -> None:
    [decision] = decisions(rig, "exp_good").values()
    assert decision["trust"] == "trusted", decision["reasons"]  # the generated data are the same every time
    runs = wait_until(
        "the waiting DAG runs", lambda: rig.client().get("/dags/waits_for_exp_good/dagRuns")["dag_runs"], 600
    )
    run_id = runs[0]["dag_run_id"]
    wait_until("it ends", lambda: rig.ended("waits_for_exp_good", run_id), 600)
    path = f"/dags/waits_for_exp_good/dagRuns/{run_id}/taskInstances/act/xcomEntries/return_value?deserialize=true"
    extra = rig.client().get(path)["value"]
    assert extra == {"dt": decision["dt"].isoformat(), "run_id": FIRST, "decision": decision["decision"]}


@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver (Debian: both packages)")
def test_a_person_finds_the_way_in_the_browser(rig: Rig, first_run: dict[str, str], tmp_path: Path) -> None:
    pictures = Path(os.environ.get("EXP_PICTURES") or tmp_path)
    dag = f"{rig.home.url}/dags/experiment_analysis"
    with Browser() as page:
        page.open(f"{rig.home.url}/auth/login")
        page.wait_for("Sign into Airflow")
        page.type("//input[@name='username']", "admin")
        page.type("//input[@name='password']", rig.home.password)
        page.click("//button[@type='submit']")
        page.wait_for("Dags", "Experiments")
        page.picture(pictures / "home.png")

        page.open(f"{dag}/runs/{FIRST}")
        page.wait_for("sources", "canonical", "quality", "metrics", "results", "gates", "memo")
        page.picture(pictures / "grid.png")
        page.run("localStorage.setItem('default_dag_view', JSON.stringify('graph'))")
        page.open(f"{dag}/runs/{FIRST}")
        page.wait_for("resolve_run", "watcher")
        page.click("//button[@aria-label='Expand all task groups']")
        page.wait_for("quality_gate", "srm_gate", "guardrail_gate", "experiment_passed")
        page.picture(pictures / "graph.png")

        page.run("localStorage.setItem('default_dag_view', JSON.stringify('grid'))")
        page.open(f"{dag}/runs/{FIRST}/tasks/build_assignments")
        page.wait_for("spark-submit", "wrote 3,000 rows of silver.fact_assignment_canonical")
        page.picture(pictures / "log.png")
        page.open(f"{dag}/runs/{FIRST}/tasks/build_assignments/details")
        page.wait_for("Extra Links", "Memo", "Data docs")
        page.picture(pictures / "links.png")

        page.open(dag)
        page.wait_for("Trigger")
        page.click("//button[contains(., 'Trigger')]")
        page.wait_for("Experiment", "As-of date", "Generate synthetic data first", "Rarely needed")
        page.picture(pictures / "trigger_form.png")

        page.open(f"{rig.home.url}/experiments/memos/exp_good.html")
        page.wait_for("exp_good")
        page.picture(pictures / "memo.png")


def test_a_backfill_analyses_day_after_day_and_one_bad_experiment_does_not_stop_the_others(
    rig: Rig, first_run: dict[str, str], tmp_path: Path, spark: Any
) -> None:
    days = [EARLIER, LATEST]
    beside = ThreadPoolExecutor().submit(direct_runs, rig, tmp_path, "exp_good", days, spark)
    window = ["--from-date", "2026-01-19", "--to-date", "2026-01-20"]
    code, said = rig.airflow("backfill", "create", "--dag-id", "daily_experiments", *window)
    assert code == 0, said[-2000:]

    over = "select 1 from dag_run where run_type = 'backfill' and state in ('success', 'failed')"
    wait_until("both days end", lambda: len(rig.query(over)) == len(days), 2 * RUN_SECONDS)
    for run in rig.client().get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]:
        states = task_states(rig, "daily_experiments", run["dag_run_id"])
        assert states["analyse_experiment.analyse[exp_good]"] == "success"
        assert states["analyse_experiment.raw_ready[exp_late]"] == "failed"
        assert states["refused_configs"] == "failed"
        assert run["state"] == "failed"
    assert sorted(decisions(rig, "exp_good")) == [day.isoformat() for day in days]
    children = rig.client().get("/dags/experiment_analysis/dagRuns?limit=50")["dag_runs"]
    assert {f"exp_good__{day}__1" for day in days} <= {run["dag_run_id"] for run in children}
    assert all(run["logical_date"] is None for run in children if run["dag_run_id"].startswith("exp_good__"))
    assert differing_tables(rig.project, beside.result(), "exp_good", days) == []


def test_pages_ask_for_the_login(rig: Rig) -> None:
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{rig.home.url}/experiments/")
    assert caught.value.code == 401


def test_a_start_in_the_middle_of_a_week_does_not_make_up_for_last_sundays_maintenance(rig: Rig) -> None:
    assert rig.client().get("/dags/lakehouse_maintenance/dagRuns")["dag_runs"] == []


def test_starting_twice_says_that_it_runs_already(rig: Rig) -> None:
    assert f"already running: {rig.home.url}" in rig.make_up()
