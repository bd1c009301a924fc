"""The verdicts that are worth an alert, and the messages that Slack shows."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from tests import hand_made as hm

from exp_platform.alerts.history import Streak
from exp_platform.alerts.model import Alert, Kind, config_alert, contract_alert, verdict_alerts
from exp_platform.alerts.slack import digest_message, part_of, slack_message

DT = date(2026, 1, 14)
GUARDRAIL = {
    "metric_name": "latency",
    "variant_id": "treatment",
    "status": "fail",
    "effect_rel": 0.084,
    "bound": 0.1234,
    "margin": 0.05,
}


def alerts(mode: str = "itt", guardrails=(), validation=(), quality=()) -> list[Alert]:
    registry = hm.experiment([hm.metric("revenue")], analysis_mode=mode)
    return verdict_alerts(registry, DT, guardrails, validation, quality)


def quality(check: str, days_ago: int = 1, status: str = "fail") -> dict:
    return {
        "check_name": check,
        "status": status,
        "date": DT - timedelta(days=days_ago),
        "observed": 0.4,
        "expected": 0.7,
    }


def test_a_healthy_run_tells_nothing():
    passed = GUARDRAIL | {"status": "pass"}
    checks = [{"check_name": "srm_assigned", "status": "ok"}, {"check_name": "srm_by_day", "status": "warn"}]
    assert alerts(guardrails=[passed], validation=checks, quality=[quality("exposure_logging", status="ok")]) == []


def test_a_failed_guardrail_names_metric_arm_effect_bound_and_margin():
    (alert,) = alerts(guardrails=[GUARDRAIL])
    assert (alert.kind, alert.subject) == (Kind.GUARDRAIL_FAILED, "latency/treatment")
    assert alert.facts["effect"] == "+8.40%" and "+12.34%" in alert.facts["bound"]


def test_a_failed_sample_ratio_gate_is_told():
    row = {"check_name": "srm_assigned", "status": "fail", "p_value": 1e-9, "detail": "control 9 of 5 expected"}
    (alert,) = alerts(validation=[row])
    assert (alert.kind, alert.subject) == (Kind.SRM_FAILED, "srm_assigned")


@pytest.mark.parametrize(
    ("mode", "row", "told"),
    [
        ("exposed", quality("exposure_logging"), "not to be trusted"),
        ("exposed", quality("exposure_logging", days_ago=9), "not to be trusted"),
        ("itt", quality("variant_mismatch", days_ago=9), "not to be trusted"),
        ("itt", quality("exposure_logging"), "caution"),  # costs no trust: told while it is news
        ("itt", quality("exposure_logging", days_ago=9), None),
    ],
)
def test_a_failed_quality_check_is_told_when_it_costs_trust_or_is_news(mode, row, told):
    found = alerts(mode, quality=[row])
    assert [told in alert.sentence for alert in found] == ([] if told is None else [True])


def test_one_check_that_fails_on_three_days_is_one_alert():
    rows = [quality("exposure_logging", days_ago=n) for n in (1, 2, 3)]
    (alert,) = alerts("exposed", quality=rows)
    assert alert.facts["days"] == "3 days from 2026-01-11 to 2026-01-13"


def test_the_same_verdict_has_the_same_key_and_other_figures_another():
    (first,), (same,) = alerts(guardrails=[GUARDRAIL]), alerts(guardrails=[dict(GUARDRAIL)])
    (other,) = alerts(guardrails=[GUARDRAIL | {"effect_rel": 0.2}])
    assert first.key == same.key
    assert first.key != other.key and first.subject == other.subject


ABOUT = {
    "name": "Checkout button",
    "owner": "growth-team",
    "decision": "Invalid",
    "trust": "Not trusted",
    "changed": "decision and trust are as on 2026-01-13",
}
LINKS = {"log": "http://airflow/log", "run": "http://airflow/run", "memo": "/data/memos/exp_test.html"}


def part(alert: Alert, mornings: int = 1, **about: str) -> dict:
    return part_of(alert, LINKS, ABOUT | about, Streak(DT - timedelta(days=mornings - 1), mornings))


def texts(message: dict) -> list[str]:
    """All that the message shows, block by block."""
    found = [block["text"]["text"] for block in message["blocks"] if "text" in block]
    fields = [one["text"] for block in message["blocks"] for one in block.get("fields", ())]
    return [*found, *fields, *(one["text"] for block in message["blocks"] for one in block.get("elements", ()))]


def test_the_message_holds_title_owner_decision_change_since_when_and_the_next_step():
    (alert,) = alerts(guardrails=[GUARDRAIL])
    message = slack_message([part(alert, mornings=4)])
    assert [block["type"] for block in message["blocks"]] == [
        "header",
        "section",  # id, day, owner
        "section",  # the problem
        "section",  # its figures
        "section",  # what changed
        "section",  # next step
        "context",  # links
    ]
    shown = texts(message)
    assert shown[0] == "Checkout button: Invalid, not trusted"
    assert shown[1] == "`exp_test` as of 2026-01-14, owner growth-team"
    assert shown[2].startswith("*Guardrail failed*, failing since 2026-01-11, 4 mornings\nlatency is harmed")
    assert shown[3] == "*What changed:* decision and trust are as on 2026-01-13"
    assert shown[4].startswith("*Next step:* the owner stops the experiment")
    assert "*effect*\n+8.40%" in shown and "*bound*\nharm up to +12.34%" in shown
    assert shown[-1] == "<http://airflow/log|log> · <http://airflow/run|run> · memo: `/data/memos/exp_test.html`"
    assert message["text"].startswith("Checkout button: Invalid, not trusted: exp_test, 2026-01-14: latency is harmed")


def test_several_problems_of_a_morning_are_one_message_with_the_gravest_first():
    quality_alert, guardrail = alerts("exposed", quality=[quality("exposure_logging")], guardrails=[GUARDRAIL])[::-1]
    broken = contract_alert("exp_test", DT, "ingest_events", "exp.outcomes: no rows")
    message = slack_message([part(one) for one in (guardrail, quality_alert, broken)])
    shown = texts(message)
    assert shown[0] == "Checkout button: contract broken: nothing new is published"
    titles = [text.split("*")[1] for text in shown if text.startswith(("*Contract", "*Data", "*Guard"))]
    assert titles == ["Contract broken: nothing new is published", "Data quality failed", "Guardrail failed"]
    assert any(text.startswith("*Next step:* have the data mended") for text in shown)


def test_ids_and_paths_keep_their_case():
    alert = contract_alert(
        "exp_test", DT, "ingest_events", "exp.outcomes: revenue_eUR is missing in raw/Part-0.parquet"
    )
    assert "exp.outcomes: revenue_eUR is missing in raw/Part-0.parquet" in texts(slack_message([part(alert)]))[2]


def test_broken_yaml_arrives_as_a_refused_configuration_with_the_cause_first_and_the_path_last():
    why = "configs/experiments/exp_test.yaml:3: variants: shares add up to 1.2, must be 1.0"
    alert = config_alert("exp_test", DT, "registry", why)
    assert alert.kind == Kind.CONFIG_REFUSED
    message = slack_message([part(alert, decision="", trust="")])
    assert texts(message)[0] == "Checkout button: configuration refused"
    told = "variants: shares add up to 1.2, must be 1.0 (configs/experiments/exp_test.yaml:3)"
    assert texts(message)[2] == f"*Configuration refused*\n{told}"
    assert "crash" not in json.dumps(message).lower()


def test_the_healthy_are_one_message_with_decision_trust_and_the_way_to_each_memo():
    healthy = [
        {"experiment_id": "exp_A_1", "name": "One", "decision": "Ship", "trust": "Trusted", "memo": "http://x/a"},
        {"experiment_id": "exp_b_2", "name": "<Two>", "decision": "Keep running", "trust": "Caution", "memo": ""},
    ]
    message = digest_message("2026-01-14", healthy, others=1)
    assert texts(message) == [
        "2 of 3 experiments are healthy, 2026-01-14",
        "• <http://x/a|One> `exp_A_1`: Ship, trusted\n• &lt;Two&gt; `exp_b_2`: Keep running, caution",
        "1 need a person: see their own messages",
    ]
    assert digest_message("2026-01-14", healthy, others=0)["text"] == "All 2 experiments are healthy, 2026-01-14"


def test_a_digest_of_a_thousand_experiments_stays_within_slacks_limits():
    one = {"experiment_id": "exp_" + "x" * 60, "name": "n" * 30, "decision": "Ship", "trust": "Trusted", "memo": "m"}
    message = digest_message("2026-01-14", [one] * 1000, others=0)
    assert len(message["blocks"]) <= 50


def test_what_comes_from_data_cannot_become_a_mention_or_a_link():
    alert = contract_alert("exp_test", DT, "ingest_events", "value <!channel> & <http://evil|click> is no number")
    text = json.dumps(slack_message([part(alert, name="<!here>")])["blocks"][1:])
    assert "<!channel>" not in text and "&lt;!channel&gt; &amp; " in text


def test_a_very_long_sentence_still_fits():
    alert = contract_alert("exp_test", DT, "ingest_events", "x" * 5000 + "\nsecond line")
    message = slack_message([part(alert, name="n" * 400)] * 30)
    assert len(message["blocks"]) <= 50
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"] if "text" in block)
    assert len(alert.sentence) == 500
