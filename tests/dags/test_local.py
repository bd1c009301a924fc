"""`make demo`, `make up` and `make down`: what they say, and what they refuse in one sentence."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.ports import free_ports

from exp_platform.airflow import local
from exp_platform.airflow.home import Home
from exp_platform.airflow.local import SERVICES, TASKS, Progress, _running, main


def test_a_taken_port_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["up", "--home", str(tmp_path), "--port", str(port)]) == 1
    said = capsys.readouterr().err.strip()
    assert said == f"port {port} is taken: stop what uses it, or choose another: make up PORT=8090"
    assert not (tmp_path / "airflow.db").exists()


def test_what_runs_already_is_found_at_the_port_where_it_was_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "airflow"]) as service:
        pids = dict.fromkeys(SERVICES, service.pid)
        (tmp_path / "services.json").write_text(json.dumps({"port": 8123, "pids": pids}))
        assert main(["up", "--home", str(tmp_path), "--port", "8124"]) == 0
        service.kill()
    assert "already running: http://localhost:8123 " in capsys.readouterr().out


def test_the_scheduler_starts_when_the_api_server_answers_and_never_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that starts before the API server answers fails, and its next attempt is five minutes later."""
    started: list[str] = []
    answers = iter([False, False, True])
    monkeypatch.setattr(Home, "prepare", lambda *_: None)
    monkeypatch.setattr(local, "_alive", lambda _: dict.fromkeys(started, 1))
    monkeypatch.setattr(local, "_airflow", lambda _, name, **__: started.append(name) or SimpleNamespace(pid=1))
    monkeypatch.setattr(local, "_answers", lambda _: "scheduler" not in started and next(answers))
    monkeypatch.setattr(local, "_ready", lambda _: True)
    monkeypatch.setattr(local.time, "sleep", lambda _: None)
    assert local.up(Home(tmp_path, free_ports())) == 0
    assert started == [*SERVICES] and started[-1] == "scheduler"
    assert list(answers) == []

    started.clear()
    monkeypatch.setattr(local, "_answers", lambda _: False)
    monkeypatch.setattr(local, "_signal_group", lambda *_: None)
    monkeypatch.setattr(local, "_running", lambda _: False)
    assert local.up(Home(tmp_path, free_ports()), seconds=0.01) == 1
    assert "scheduler" not in started


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Airflow is not running\n"


def test_a_process_that_is_not_airflows_is_never_taken_for_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        assert not _running(other.pid)
        other.kill()
    assert not _running(2**22 + 1)


def test_the_settings_listen_on_localhost_only_and_call_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__HOST", "0.0.0.0")
    environment = Home(tmp_path, 8123).environment()
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "false"
    assert environment["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "false"


def test_the_password_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.password == home.password
    assert (tmp_path / "passwords.json").stat().st_mode & 0o077 == 0


def test_progress_is_one_line_for_each_task_with_its_seconds_and_its_fate() -> None:
    times = iter([10.0, 13.5, 20.0, 21.0])
    progress = Progress(clock=lambda: next(times))
    lines = [
        "x [DAG TEST] starting task_id=ingest_events map_index=-1",
        "[info] wrote 10 rows",
        "x [DAG TEST] end task task_id=ingest_events map_index=-1",
        "x [DAG TEST] starting task_id=quality_gate map_index=-1",
        "[error    ] Task failed with exception",
        "x [DAG TEST] end task task_id=quality_gate map_index=-1",
    ]
    shown = "".join(map(progress.read, lines))
    assert shown == (
        f"   1/{TASKS} ingest_events            3.5 s\n   2/{TASKS} quality_gate             1.0 s  FAILED\n"
    )
