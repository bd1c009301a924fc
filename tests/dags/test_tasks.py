"""The tasks of `experiment_analysis` that are not Spark applications."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from exp_platform.airflow import tasks
from exp_platform.config.load import Project

pytestmark = pytest.mark.airflow


def test_a_red_gate_says_its_sentence_line_by_line_and_where_the_memo_is(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = {"config": str(project.path), "experiment_id": "exp_checkout_button_001", "dt": "2026-01-14", "run_id": "r1"}
    ti = SimpleNamespace(xcom_pull=lambda task_ids: run, dag_id="experiment_analysis", run_id="r1", task_id="srm_gate")
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"ti": ti})
    monkeypatch.setattr("exp_platform.airflow.read.verdict_rows", lambda run, table: [{}])
    sentence = "not trusted: a failed; b failed"
    with pytest.raises(AirflowFailException, match=f"^{sentence}$"):
        tasks._judge(lambda rows: sentence, "gold.some_table")
    said: list[Any] = capsys.readouterr().out.splitlines()
    assert said[:2] == ["not trusted: a failed;", "b failed"]
    assert said[2].startswith("next: http")
    assert said[2].endswith("/experiments/memos/exp_checkout_button_001/2026-01-14.html")
