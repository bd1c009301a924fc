"""Memos and data docs as pages: behind the login, and nothing but what is in their folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from exp_platform.airflow.pages import build_app, inside, list_memos

pytestmark = pytest.mark.airflow


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    memos, docs = tmp_path / "memos", tmp_path / "docs"
    memos.mkdir()
    docs.mkdir()
    (memos / "exp_a_001.html").write_text("<p>the memo</p>")
    (tmp_path / "secret.html").write_text("not for you")
    return memos, docs


@pytest.fixture
def client(folders: tuple[Path, Path]) -> TestClient:
    app = build_app(lambda: folders)
    app.dependency_overrides[get_user] = lambda: "somebody"
    return TestClient(app)


def test_without_a_login_there_is_no_page(folders: tuple[Path, Path]) -> None:
    assert TestClient(build_app(lambda: folders)).get("/memos/exp_a_001.html").status_code == 401


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


def test_the_list_says_what_each_memo_decided_and_which_is_blocked(tmp_path: Path) -> None:
    (tmp_path / "exp_a_001.html").touch()
    (tmp_path / "exp_b_002.html").touch()
    answer = {"decision_label": "Ship", "trust_label": "Trusted"}
    (tmp_path / "exp_a_001.json").write_text(json.dumps({"dt": "2026-01-14", "answer": answer, "blocked": None}))
    blocked = {"dt": None, "answer": None, "blocked": {"since": "2026-01-15"}}
    (tmp_path / "exp_b_002.json").write_text(json.dumps(blocked))
    shown = list_memos(tmp_path)
    assert "<td>Ship</td><td>Trusted</td><td>2026-01-14</td>" in shown
    assert "<td>– (blocked since 2026-01-15)</td>" in shown


def test_what_is_not_there_yet_says_what_to_do(client: TestClient) -> None:
    assert "write_memo has not run" in client.get("/memos/exp_b_002.html").json()["detail"]
    assert "make docs" in client.get("/docs/index.html").json()["detail"]


def test_nothing_outside_the_folder_can_be_had(client: TestClient, folders: tuple[Path, Path]) -> None:
    assert client.get("/memos/%2e%2e/secret.html").status_code == 404
    (folders[0] / "link.html").symlink_to(folders[0].parent / "secret.html")
    assert inside(folders[0], "link.html") is None
    assert inside(folders[0], "../secret.html") is None


def test_before_the_first_memo_the_list_says_how_to_get_one(tmp_path: Path) -> None:
    assert "trigger" in list_memos(tmp_path)
