"""The verdicts that are worth an alert, and the messages that Slack shows."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from tests import hand_made as hm

from exp_platform.alerts.model import Alert, Kind, contract_alert, verdict_alerts
from exp_platform.alerts.slack import slack_payload

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


def test_the_message_holds_experiment_dt_facts_and_links():
    (alert,) = alerts(guardrails=[GUARDRAIL])
    links = {"log": "http://airflow/log", "run": "http://airflow/run", "memo": "/data/memos/exp_test.html"}
    text = json.dumps(slack_payload(alert, links))
    for part in ("exp_test", "2026-01-14", "latency", "+8.40%", "+12.34%", "<http://airflow/log|log>", "`/data/memos"):
        assert part in text
    assert slack_payload(alert, links)["text"].startswith("Guardrail failed: exp_test")


def test_what_comes_from_data_cannot_become_a_mention_or_a_link():
    alert = contract_alert("exp_test", DT, "ingest_events", "value <!channel> & <http://evil|click> is no number")
    text = json.dumps(slack_payload(alert)["blocks"])
    assert "<!channel>" not in text and "&lt;!channel&gt; &amp; " in text


def test_a_very_long_sentence_still_fits():
    alert = contract_alert("exp_test", DT, "ingest_events", "x" * 5000 + "\nsecond line")
    assert all(len(block["text"]["text"]) <= 3000 for block in slack_payload(alert)["blocks"] if "text" in block)
    assert "second line" not in alert.sentence
