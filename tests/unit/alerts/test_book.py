"""ops.alerts: recorded before it is sent, sent once, tried again until it arrives."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

from tests.unit.alerts.slack_server import Slack

from exp_platform.alerts.book import DIGEST, deliver, record, record_digest, waiting
from exp_platform.alerts.deliver import WEBHOOK, alert_after_run
from exp_platform.alerts.model import contract_alert, crash_alert
from exp_platform.config.load import Project
from exp_platform.errors import ContractViolation
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.tables.names import ALERTS

ID, DT = "exp_checkout_button_001", date(2026, 1, 14)
NOW = datetime(2026, 1, 15, 3, tzinfo=UTC)
NAME = "Green checkout button"
CRASH = crash_alert(ID, DT, "ingest_events", "the disk is full")


def book(project: Project) -> list[dict]:
    return read_rows(load_handle(project, ALERTS), {"experiment_id": ID})


def down(_: object) -> None:
    raise ConnectionError("Slack is down")


def test_an_alert_is_pending_before_and_sent_after(project: Project):
    record(project, [CRASH], "run_1", NOW)
    assert [(row["state"], row["attempts"]) for row in book(project)] == [("pending", 0)]
    seen: list[str] = []

    def send(payload) -> None:
        seen.append(book(project)[0]["state"])
        assert "the disk is full" in payload["text"]

    assert deliver(project, ID, send, NOW).sent == 1
    assert seen == ["pending"]
    assert [(row["state"], row["attempts"]) for row in book(project)] == [("sent", 1)]


def test_a_rerun_of_the_same_day_does_not_repeat_it(project: Project):
    sent: list[object] = []
    for run_id in ("run_1", "run_2"):
        record(project, [CRASH], run_id, NOW)
        deliver(project, ID, sent.append, NOW)
    assert len(sent) == 1 and len(book(project)) == 1


def test_what_another_run_has_sent_meanwhile_is_not_sent_again(project: Project):
    other = contract_alert(ID, date(2026, 1, 13), "ingest_events", "exp.outcomes: no rows")
    record(project, [CRASH, other], "run_1", NOW)
    sent: list[str] = []

    def slow(payload) -> None:
        sent.append(payload["text"])
        if len(sent) == 1:  # while Slack makes this run wait, the daily run sends what is left
            day = "2026-01-13" if "2026-01-14" in payload["text"] else "2026-01-14"
            row = next(row for row in book(project) if row["dt"].isoformat() == day)
            replace_rows(project, ALERTS, {n: row[n] for n in other.key}, [row | {"state": "sent", "attempts": 1}])

    assert deliver(project, ID, slow, NOW).sent == 1
    assert len(sent) == 1
    assert {row["state"] for row in book(project)} == {"sent"}


def test_all_alerts_of_an_experiment_and_a_morning_are_one_message(project: Project):
    other = contract_alert(ID, DT, "ingest_events", "exp.outcomes: no rows")
    yesterday = contract_alert(ID, DT - timedelta(days=1), "ingest_events", "exp.outcomes: no rows")
    record(project, [CRASH, other, yesterday], "run_1", NOW)
    sent: list[dict] = []
    assert deliver(project, ID, sent.append, NOW).sent == 3
    assert [("2026-01-14" in message["text"], "disk is full" in json.dumps(message)) for message in sent] in (
        [(True, True), (False, False)],
        [(False, False), (True, True)],
    )


def test_a_problem_that_was_there_on_the_days_before_says_since_when(project: Project):
    days = [date(2026, 1, day) for day in (11, 12, 14)]  # no run on the 13th
    for day in days:
        record(project, [contract_alert(ID, day, "ingest_events", "exp.outcomes: no rows")], f"run_{day}", NOW)
    parts = [json.loads(row["payload"]) for row in sorted(book(project), key=lambda row: row["dt"])]
    assert [part["since"] for part in parts] == [
        "",
        "failing since 2026-01-11, 2 mornings",
        "failing since 2026-01-11, 3 mornings",
    ]
    assert parts[0]["about"] | {"owner": ""} == {
        "name": NAME,
        "owner": "",
        "decision": "",
        "trust": "",
        "changed": "no day has been analysed yet",
    }


def test_the_message_on_the_healthy_is_recorded_and_sent_once_a_day(project: Project):
    sent: list[dict] = []
    for run_id, text in (("run_1", "All 2 experiments are healthy"), ("run_2", "All 3 experiments are healthy")):
        record_digest(project, DT, {"text": text, "blocks": [{"type": "divider"}]}, run_id, NOW)
        deliver(project, DIGEST, sent.append, NOW)
    assert [message["text"] for message in sent] == ["All 2 experiments are healthy"]


def test_another_event_on_the_same_day_is_another_alert(project: Project):
    other = contract_alert(ID, DT, "ingest_events", "exp.outcomes: no rows")
    record(project, [CRASH, other], "run_1", NOW)
    assert {row["kind"] for row in waiting(project, ID, NOW)} == {"run_crashed", "contract_broken"}


def test_during_an_outage_it_is_lost_with_its_reason_and_the_next_run_tries_again(project: Project):
    lines: list[str] = []
    record(project, [CRASH], "run_1", NOW)
    assert deliver(project, ID, down, NOW, lines.append).lost == 1
    (row,) = book(project)
    assert (row["state"], row["attempts"], row["last_error"]) == ("lost", 1, "Slack is down")
    assert "the next run tries again" in lines[0]
    tomorrow = NOW + timedelta(days=1)
    assert deliver(project, ID, lambda _: None, tomorrow).sent == 1
    (row,) = book(project)
    assert (row["state"], row["attempts"], row["last_error"]) == ("sent", 2, None)


def test_what_is_a_week_old_is_history_and_not_sent_any_more(project: Project):
    record(project, [CRASH], "run_1", NOW)
    assert waiting(project, ID, NOW + timedelta(days=8)) == []


def test_without_a_webhook_the_alert_is_logged_and_the_run_goes_on(project: Project, monkeypatch):
    monkeypatch.delenv(WEBHOOK, raising=False)
    lines: list[str] = []
    error = ContractViolation("exp.outcomes: 12% of the rows are refused")
    outcome = alert_after_run(project, ID, DT, "run_1", error=error, log=lines.append, now=NOW)
    assert outcome.pending == 1
    assert any("12% of the rows" in line for line in lines) and WEBHOOK in lines[-1]


def test_with_a_webhook_the_message_arrives_once_however_often_the_day_is_run(
    project: Project, monkeypatch, slack: Slack
):
    monkeypatch.setenv(WEBHOOK, slack.url)
    error = ContractViolation("exp.outcomes: 12% of the rows are refused")
    for run_id in ("run_1", "run_2"):
        alert_after_run(project, ID, DT, run_id, error=error, log=lambda _: None, now=NOW)
    headline = f"{NAME}: contract broken: nothing new is published"
    assert [message["text"] for message in slack.got] == [
        f"{headline}: {ID}, 2026-01-14: exp.outcomes: 12% of the rows are refused"
    ]


def test_with_a_dead_webhook_the_run_goes_on_and_the_alert_is_not_forgotten(project: Project, monkeypatch):
    monkeypatch.setenv(WEBHOOK, "ftp://nowhere")
    outcome = alert_after_run(project, ID, DT, "run_1", error=RuntimeError("boom"), log=lambda _: None, now=NOW)
    assert outcome.lost == 1
    assert [row["kind"] for row in waiting(project, ID, NOW)] == ["run_crashed"]


def test_a_fault_in_the_alerting_itself_never_fails_the_run(project: Project):
    lines: list[str] = []
    alert_after_run(project, "exp_unknown", DT, "run_1", log=lines.append, now=NOW)
    assert "could not be recorded or sent" in lines[-1]
