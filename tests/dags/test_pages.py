"""Memos and data docs as pages: behind the login, and nothing but what is in their folders."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.memo_kinds import KINDS

from exp_platform.airflow.pages import build_app, index_page, inside
from exp_platform.airflow.plugin import ExperimentPages
from exp_platform.memo.index.store import Registered
from exp_platform.memo.render import to_json

pytestmark = pytest.mark.airflow
REGISTRY = (
    Registered("exp_a_001", "Green checkout button", "growth", "running"),
    Registered("exp_b_002", "New search", "search", "draft"),
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    memos, docs = tmp_path / "memos", tmp_path / "docs"
    memos.mkdir()
    docs.mkdir()
    (memos / "exp_a_001.html").write_text("<p>the memo</p>")
    (memos / "exp_a_001.json").write_text(to_json(KINDS["early"]()))
    (tmp_path / "secret.html").write_text("not for you")
    return memos, docs


@pytest.fixture
def client(folders: tuple[Path, Path]) -> TestClient:
    app = build_app(lambda: folders, lambda: REGISTRY)
    app.dependency_overrides[get_user] = lambda: "somebody"
    return TestClient(app)


def test_without_a_login_there_is_no_page(folders: tuple[Path, Path]) -> None:
    assert TestClient(build_app(lambda: folders, lambda: REGISTRY)).get("/memos/exp_a_001.html").status_code == 401


def test_the_plugin_brings_the_pages_behind_the_login_when_one_is_asked_for() -> None:
    server = FastAPI()
    for app in ExperimentPages.fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    assert TestClient(server).get("/experiments/").status_code == 401
    assert TestClient(server).get("/experiments/memos/exp_a_001.html").status_code == 401


def test_a_memo_is_served_and_listed(client: TestClient) -> None:
    assert "the memo" in client.get("/memos/exp_a_001.html").text
    assert 'href="/experiments/memos/exp_a_001.html"' in client.get("/").text


def test_the_memo_of_a_day_is_served_and_the_latest_until_it_is_written(
    client: TestClient, folders: tuple[Path, Path]
) -> None:
    assert "the memo" in client.get("/memos/exp_a_001/2026-01-10.html").text
    (folders[0] / "exp_a_001").mkdir()
    (folders[0] / "exp_a_001" / "2026-01-10.html").write_text("<p>as of that day</p>")
    assert "as of that day" in client.get("/memos/exp_a_001/2026-01-10.html").text
    assert client.get("/memos/exp_b_002/2026-01-10.html").status_code == 404
    assert client.get("/memos/../secret/x.html").status_code == 404


def test_the_index_lists_memos_and_experiments_without_one_and_links_to_data_docs(client: TestClient) -> None:
    shown = client.get("/").text
    assert "2 experiments: 1 running, 1 without a memo" in shown and "New search" in shown
    assert 'href="/experiments/docs/"' in shown


def test_the_index_counts_days_up_to_today(folders: tuple[Path, Path]) -> None:
    assert "3 days ago" in index_page(folders[0], REGISTRY, date(2026, 1, 8))
    assert "4 days ago" in index_page(folders[0], REGISTRY, date(2026, 1, 9))


def test_what_is_not_there_yet_says_what_to_do(client: TestClient) -> None:
    assert "write_memo has not run" in client.get("/memos/exp_b_002.html").json()["detail"]
    assert "make docs" in client.get("/docs/index.html").json()["detail"]


def test_nothing_outside_the_folder_can_be_had(client: TestClient, folders: tuple[Path, Path]) -> None:
    assert client.get("/memos/%2e%2e/secret.html").status_code == 404
    (folders[0] / "link.html").symlink_to(folders[0].parent / "secret.html")
    assert inside(folders[0], "link.html") is None
    assert inside(folders[0], "../secret.html") is None


def test_without_experiments_the_index_says_how_to_get_a_memo(tmp_path: Path) -> None:
    assert "run an experiment" in index_page(tmp_path, (), date(2026, 1, 8))
