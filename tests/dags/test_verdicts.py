"""The verdicts that make a gate red, and their sentences."""

from __future__ import annotations

from datetime import date
from typing import Any

from exp_platform.airflow.gate_verdicts import guardrail_verdict, quality_verdict, srm_verdict, withheld


def quality(check: str, status: str = "fail", day: int = 3, observed: float = 0.2) -> dict[str, Any]:
    return {
        "check_name": check,
        "status": status,
        "date": date(2026, 2, day),
        "observed": observed,
        "expected": 0.8,
    }


def test_a_failed_quality_check_names_itself_the_days_and_the_worst_of_them() -> None:
    rows = [quality("exposure_logging"), quality("exposure_logging", day=5, observed=0.1)]
    assert quality_verdict(rows, "exposed") == (
        "not trusted: exposure_logging failed on 2 days from 2026-02-03 to 2026-02-05 (on 2026-02-05: 0.1 against 0.8)"
    )


def test_with_intent_to_treat_only_checks_that_mix_the_arms_cost_the_trust() -> None:
    assert quality_verdict([quality("exposure_logging")], "itt") is None
    assert quality_verdict([quality("variant_mismatch")], "itt") is not None


def test_warnings_leave_the_gate_green() -> None:
    assert quality_verdict([quality("exposure_logging", status="warn")], "exposed") is None


def test_only_the_gating_tests_of_the_sample_ratio_count() -> None:
    row = {"check_name": "srm_assigned", "status": "fail", "p_value": 1e-9, "threshold": 0.001}
    assert srm_verdict([row]) == (
        "not trusted: the arms do not have the sizes that the registry promises "
        "(srm_assigned: p = 1e-09, threshold 0.001)"
    )
    assert srm_verdict([row | {"check_name": "srm_by_day"}]) is None


def guardrail(status: str) -> dict[str, Any]:
    return {
        "metric_name": "latency",
        "variant_id": "treatment",
        "status": status,
        "effect_rel": 0.08,
        "margin": 0.05,
    }


def test_a_failed_guardrail_says_how_much_was_allowed() -> None:
    assert guardrail_verdict([guardrail("pass"), guardrail("inconclusive")]) is None
    assert guardrail_verdict([guardrail("fail")]) == "stop: latency in treatment: effect +8.0%, allowed harm +5.00%"


def test_an_experiment_passes_only_when_it_is_trusted_and_no_guardrail_failed() -> None:
    decision = {"trust": "trusted", "reasons": ["primary_better"]}
    assert withheld(decision, [guardrail("pass")]) is None
    assert withheld(decision, [guardrail("fail")]) is not None
    assert withheld(None, []) == "no decision was made"
    assert withheld({"trust": "caution", "reasons": ["skewed"]}, []) == "trust is caution: skewed"
