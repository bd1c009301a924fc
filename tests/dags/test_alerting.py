"""Which alerts a run inside Airflow makes, and where they lead."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from exp_platform.airflow import alerting
from exp_platform.airflow.alerting import alert_crashed_run, failure_alert, links_of
from exp_platform.airflow.morning import morning_of
from exp_platform.alerts.model import Alert, Kind, contract_alert
from exp_platform.config.load import Project

pytestmark = pytest.mark.airflow

RUN = {"experiment_id": "exp_a_001", "dt": "2026-02-01", "run_id": "manual__2026-02-02T00:00:00+00:00"}


def failure(exit_code: int) -> dict[str, Any]:
    return {"stage": "ingest_events", "exit_code": exit_code, "sentence": "outcomes: 3 of 10 rows have no user_id"}


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [
        (65, Kind.CONTRACT_BROKEN),
        (64, Kind.CONFIG_REFUSED),
        (1, Kind.RUN_CRASHED),
        (137, Kind.RUN_CRASHED),
        (66, None),
    ],
)
def test_a_broken_contract_a_refused_configuration_and_a_crash_are_told_and_a_newer_run_is_not(
    exit_code: int, kind: Kind | None
) -> None:
    alert = failure_alert(RUN, failure(exit_code), [])
    assert (alert.kind if alert else None) == kind
    if alert:
        assert alert.sentence == "outcomes: 3 of 10 rows have no user_id"
        assert alert.subject == "ingest_events"


def test_a_task_that_died_without_a_word_is_told_all_the_same() -> None:
    alert = failure_alert(RUN, None, ["aggregate_metrics"])
    assert alert is not None
    assert (alert.kind, alert.subject) == (Kind.RUN_CRASHED, "aggregate_metrics")
    assert failure_alert(RUN, None, []) is None


def context(states: dict[str, str] | None = None) -> Any:
    ti = SimpleNamespace(
        dag_id="experiment_analysis",
        run_id=RUN["run_id"],
        task_id="alert",
        get_task_states=lambda dag_id, run_ids: {RUN["run_id"]: states or {}},
    )
    return {"ti": ti}


@pytest.mark.parametrize(
    ("kind", "subject", "task_id"),
    [
        ("guardrail_failed", "latency/treatment", "guardrail_gate"),
        ("srm_failed", "srm_assigned", "srm_gate"),
        ("contract_broken", "ingest_events", "ingest_events"),
        ("run_crashed", "registry", "alert"),
    ],
)
def test_the_log_link_leads_to_the_task_that_said_so(kind: str, subject: str, task_id: str) -> None:
    links = links_of(context(), "exp_a_001", subject, kind)
    assert links["log"].endswith(f"/runs/manual__2026-02-02T00%3A00%3A00%2B00%3A00/tasks/{task_id}")
    assert links["memo"].endswith("/experiments/memos/exp_a_001.html")


def test_a_verdict_leads_to_the_memo_of_its_day_and_a_broken_contract_to_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[dict[str, str]] = []
    monkeypatch.setattr("exp_platform.alerts.book.record", lambda *words: written.append(words[-1]))
    monkeypatch.setattr(alerting, "_deliver", lambda *_: None)
    day = date(2026, 2, 1)
    failed = Alert("exp_a_001", day, Kind.SRM_FAILED, "srm_assigned", "the arms do not have the promised sizes")
    blocked = contract_alert("exp_a_001", day, "ingest_events", "no rows")
    project: Any = SimpleNamespace(profile=SimpleNamespace(ui_base_url="https://airflow.example"))
    alerting.tell(project, [failed, blocked], RUN, context())
    assert [links["memo"] for links in written] == [
        "https://airflow.example/experiments/memos/exp_a_001/2026-02-01.html",
        "https://airflow.example/experiments/memos/exp_a_001.html",
    ]


def test_waiting_alerts_are_sent_and_what_is_too_old_is_not_passed_over_in_silence(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from exp_platform.alerts.book import record

    now = datetime.now(UTC)
    for experiment_id, days in (("exp_a_001", 0), ("exp_b_002", 30)):
        record(project, [contract_alert(experiment_id, date(2026, 2, 1), "s", "no rows")], "r1", now - timedelta(days))
    sent: list[Any] = []
    monkeypatch.setattr(alerting, "slack_sender", lambda: sent.append)
    asked: Any = {"params": {"config": str(project.path)}}
    alerting.send_waiting(asked)
    assert len(sent) == 1
    assert "1 alerts were never sent and are older than 7 days: see ops.alerts" in capsys.readouterr().out
    alerting.send_waiting(asked)
    assert len(sent) == 1
    assert "no alert is waiting" in capsys.readouterr().out


def test_a_run_with_nothing_to_tell_says_so_and_asks_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alerting, "slack_sender", lambda: pytest.fail("nothing waits, so nobody need be asked"))
    alerting.tell(project, [], RUN, context())
    assert capsys.readouterr().out == "exp_a_001: no alert to send\n"


def test_the_callback_tells_only_what_the_task_alert_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(alerting, "alert_run", told.append)
    alert_crashed_run(context({"alert": "success"}))
    assert told == []
    alert_crashed_run(context({"alert": "failed"}))
    assert len(told) == 1


class Unresolved:
    """A run whose first task has refused the configuration."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf
        self.ti = SimpleNamespace(xcom_pull=self.pull)

    @staticmethod
    def pull(task_ids: str, key: str = "return_value") -> Any:
        sentence = "variants: shares add up to 1.2, must be 1.0 (configs/experiments/exp_a_001.yaml)"
        return {"stage": "resolve_run", "exit_code": 64, "sentence": sentence} if key == "failure" else None

    def context(self, config: str) -> Any:
        run = SimpleNamespace(conf=self.conf)
        return {"ti": self.ti, "dag_run": run, "params": {"config": config}, "run_id": "r"}


def test_a_scheduled_run_whose_configuration_is_refused_is_told_and_one_that_a_person_typed_is_not(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Alert] = []
    monkeypatch.setattr(alerting, "tell", lambda project, alerts, run, context: told.extend(alerts))
    alerting.alert_run(Unresolved({"experiment_id": "exp_a_001"}).context(str(project.path)))
    assert told == []
    alerting.alert_run(Unresolved({"experiment_id": "exp_a_001", "dt": "2026-02-01"}).context(str(project.path)))
    assert [(alert.kind, alert.dt) for alert in told] == [(Kind.CONFIG_REFUSED, date(2026, 2, 1))]
    assert told[0].sentence.startswith("variants: shares add up to 1.2")


def test_a_profile_that_cannot_be_read_is_told_although_no_alert_can_be_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(alerting, "slack_sender", lambda: sent.append)
    alerting.alert_unreadable_profile(date(2026, 2, 1), "configs/prod.yaml: spark.master: missing, and it is required")
    [message] = sent
    assert message["blocks"][0]["text"]["text"] == "All experiments: configuration refused"
    assert "spark.master: missing, and it is required (configs/prod.yaml)" in message["text"]
    monkeypatch.setattr(alerting, "slack_sender", lambda: None)
    alerting.alert_unreadable_profile(date(2026, 2, 1), "configs/prod.yaml: gone")
    assert "not sent: there is no connection" in capsys.readouterr().out


def test_one_message_goes_out_on_the_healthy_experiments_of_a_morning(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(alerting, "slack_sender", lambda: sent.append)
    due = [{"experiment_id": "exp_checkout_button_001"}, {"experiment_id": "exp_add_cart_002"}]
    fine = {"experiment_id": due[0]["experiment_id"], "decision": "Ship", "trust": "Trusted", "failed": []}
    morning = morning_of("2026-02-01", due, [fine], [], None)
    asked: Any = {"params": {"config": str(project.path)}, "run_id": "r1"}
    for _ in range(2):  # cleared and run again
        alerting.send_digest(asked, morning)
    [message] = sent
    assert message["text"] == "1 of 2 experiments are healthy, 2026-02-01"
    [line] = [block["text"]["text"] for block in message["blocks"] if block["text"]["text"].startswith("•")]
    assert line.endswith("|Green checkout button> `exp_checkout_button_001`: Ship, trusted")
    assert "/experiments/memos/exp_checkout_button_001/2026-02-01.html" in line
