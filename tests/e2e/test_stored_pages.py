"""Memos, data docs and tasks' logs in an S3-compatible server, without Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient
from tests.cluster.services import SCRIPTS, Services, clone_environment
from tests.conftest import make_project
from tests.memo_kinds import KINDS
from tests.ports import free_ports

from exp_platform.airflow.pages import build_app
from exp_platform.alerts.deliver import links_of
from exp_platform.config.load import Project
from exp_platform.errors import ExpError
from exp_platform.lake.object_store import ensure_bucket, ensure_buckets
from exp_platform.lake.store_path import StorePath
from exp_platform.memo.blocked import write_blocked_memo
from exp_platform.memo.index.store import KEPT, read_index, registered
from exp_platform.memo.memo_files import memo_dir, read_latest, write_memo
from exp_platform.memo.summary import decision_summary
from exp_platform.quality.docs import docs_dir, write_docs_of

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ID, DT = "exp_checkout_button_001", date(2026, 2, 4)
KEYS = {"access_key": f"canary-access-{os.getpid()}", "secret_key": f"canary-secret-{os.getpid()}"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Services(tmp_path_factory.mktemp("services"), clone_environment()) as running:
        yield running


@pytest.fixture(scope="module")
def project(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pages are in the store."""
    port, folder = free_ports(), tmp_path_factory.mktemp("objects")
    keys = {f"EXP_S3_{name.upper()}": value for name, value in KEYS.items()}
    services.start("object-store", [SCRIPTS / "object_store.sh", folder, str(port)], [port], keys)
    store = KEYS | {"endpoint": f"http://127.0.0.1:{port}"}
    places = {"memo_dir": "s3a://pages/memos", "docs_dir": "s3a://pages/docs"}
    made = make_project(tmp_path_factory.mktemp("clone"), object_store=store, **places)
    assert ensure_buckets(made) == ["pages"]
    return made


def test_memos_are_written_read_and_listed_in_the_store(project: Project) -> None:
    win = KINDS["win"]()
    about = win["experiment"] | {"id": ID}
    path = write_memo(project, ID, date.fromisoformat(win["dt"]), win | {"experiment": about}, latest=True)
    assert str(path) == f"s3a://pages/memos/{ID}.html"
    assert "Ship" in path.read_text()
    latest = read_latest(project, ID)
    assert latest is not None and latest["dt"] == win["dt"]
    assert decision_summary(project, ID, date.fromisoformat(win["dt"])).endswith(f"memo: s3a://pages/memos/{ID}.html")
    assert "no memo for 1999-01-01" in decision_summary(project, ID, date(1999, 1, 1))
    outcomes = {one.experiment_id: one.outcome for one in read_index(memo_dir(project), registered(project))}
    assert outcomes[ID] == "ship" and len(outcomes) == len(project.experiments)

    write_blocked_memo(project, ID, date(2026, 3, 5), "run_2", "ingest_events", "exp.outcomes: 7 rows are refused")
    assert "Blocked since" in path.read_text()
    [shown] = [one for one in read_index(memo_dir(project), ()) if one.experiment_id == ID]
    assert shown.outcome == "blocked"  # written within the second of the first one, and still seen
    assert (memo_dir(project) / KEPT).is_file()


def test_data_docs_are_in_the_store_and_airflow_serves_both_behind_its_login(project: Project) -> None:
    rule = {"experiment_id": ID, "run_id": "run_1", "dt": DT, "stage": "build_assignments", "expectation": "one arm"}
    rule |= {"table": "silver.fact_assignment_canonical", "success": True, "severity": "critical", "detail": ""}
    rule |= {"unexpected_count": None, "unexpected_percent": None, "sample": [], "at": datetime(2026, 2, 5, tzinfo=UTC)}
    write_docs_of(project, ID, [rule])
    app = build_app(lambda: (memo_dir(project), docs_dir(project)), lambda: registered(project))
    assert TestClient(app).get("/docs/index.html").status_code == 401
    app.dependency_overrides[get_user] = lambda: "somebody"
    client = TestClient(app)
    page = client.get("/docs/index.html")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"validations/{ID}.html" in page.text
    assert client.get("/docs/expectations/silver/fact_assignment_canonical.html").status_code == 200
    (memo_dir(project) / "exp_b.html").write_text("<p>the memo</p>")
    assert "the memo" in client.get("/memos/exp_b.html").text
    assert client.get("/memos/%2e%2e/docs/index.html").status_code == 404
    assert client.get("/memos/exp_nothing.html").status_code == 404


def test_links_lead_to_airflows_pages_or_name_the_place_in_the_store(project: Project) -> None:
    assert links_of(project, ID) == {"memo": f"s3a://pages/memos/{ID}.html"}
    answering = project.profile.model_copy(update={"ui_base_url": "https://airflow"})
    served = Project(project.root, project.path, answering, {}, {}, {})
    assert links_of(served, ID) == {"memo": f"https://airflow/experiments/memos/{ID}.html"}


def test_a_tasks_log_goes_to_the_store_by_the_connection_that_the_services_get(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = project.profile.object_store
    assert store is not None
    given = {"EXP_S3_ENDPOINT": store.endpoint} | {f"EXP_S3_{name.upper()}": value for name, value in KEYS.items()}
    program = [sys.executable, str(SCRIPTS / "airflow_store.py")]
    made = subprocess.run(program, env=os.environ | given, capture_output=True, text=True, check=True)
    assert ensure_bucket(project, "s3://logs/airflow") == "logs"
    monkeypatch.setenv("AIRFLOW_CONN_OBJECT_STORE", made.stdout)
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", "object_store")

    from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO

    logs = S3RemoteLogIO("s3://logs/airflow", tmp_path, delete_local_copy=True)
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / "attempt=1.log").write_text("read 10 rows\n")
    logs.upload("run_1/attempt=1.log")
    assert not (tmp_path / "run_1").exists()
    assert logs.s3_read("s3://logs/airflow/run_1/attempt=1.log") == "read 10 rows\n"


def test_a_store_that_is_gone_is_one_sentence_that_may_be_retried_and_a_page_says_it(
    project: Project, services: Services
) -> None:
    services.kill("object-store")
    services.processes["object-store"].wait(20)
    with pytest.raises(ExpError, match=r"^s3a://pages/memos/\S+ cannot be (read|written): the object store") as caught:
        write_memo(project, ID, DT, KINDS["win"](), latest=True)
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    app = build_app(lambda: (StorePath(project, "s3a://pages/memos"), docs_dir(project)), lambda: ())
    app.dependency_overrides[get_user] = lambda: "somebody"
    answer = TestClient(app).get("/memos/exp_b.html")
    assert answer.status_code == 503 and "does not answer" in answer.json()["detail"]
