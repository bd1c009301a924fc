"""Arms compared with each other from their deciding rows, and the doubts that a row carries."""

from __future__ import annotations

import pytest
from tests import hand_made as hm

from exp_platform.decision.evidence import evidence
from exp_platform.decision.rivals import beaten


def row(arm: str, mean: float, n: int = 2_000, **keys: object) -> dict:
    base = {"variant_id": arm, "metric_name": "revenue", "method": "cuped", "status": "ok", "reason": ""}
    base |= {"treatment_n": n, "treatment_mean": mean, "treatment_sd": 2.0, "effect_abs": mean - 10, "p_value": 0.001}
    base |= {"effect_abs_ci_low": 0.1, "effect_abs_ci_high": 1.0, "p_value_adjusted": 0.001}
    base |= {"anytime_ci_low": 0.1, "anytime_ci_high": 1.0, "anytime_p_value": 0.01}
    return base | keys


def rows(*means: float, **keys: object) -> list[dict]:
    return [row(arm, mean, **keys) for arm, mean in zip("abc", means, strict=False)]


@pytest.mark.parametrize(
    ("means", "direction", "expected"),
    [
        ((10.5, 10.1), "increase", {"a": ("b",), "b": ()}),
        ((10.5, 10.1), "decrease", {"a": (), "b": ("a",)}),
        ((10.2, 10.1), "increase", {"a": (), "b": ()}),
        ((11.0, 10.5, 10.1), "increase", {"a": ("b", "c"), "b": ("c",), "c": ()}),
    ],
)
def test_an_arm_beats_another_when_their_levels_differ_significantly(means, direction, expected):
    metric = hm.metric("revenue", direction=direction)
    plan = hm.plan([metric], days=35, arms=("control", "a", "b", "c"))
    assert beaten(rows(*means), metric, plan) == expected


def test_before_the_planned_end_the_anytime_p_decides_and_over_several_pairs_holm():
    metric = hm.metric("revenue")
    early, late = (hm.plan([metric], days=days, arms=("control", "a", "b", "c")) for days in (14, 35))
    near = rows(10.15, 10.0)  # p = 0.018 at one look
    assert beaten(near, metric, late)["a"] == ("b",)
    assert beaten(near, metric, early)["a"] == ()
    assert beaten(rows(10.15, 10.0, 10.075), metric, late)["a"] == ()


@pytest.mark.parametrize("keys", [{"method": "did"}, {"treatment_sd": None}, {"status": "insufficient_data"}])
def test_rows_that_do_not_hold_a_level_with_its_spread_are_not_compared(keys):
    metric = hm.metric("revenue")
    assert beaten(rows(12.0, 10.0, **keys), metric, hm.plan([metric], days=35)) == {"a": (), "b": ()}


@pytest.mark.parametrize(
    ("reason", "tests", "untested"),
    [
        (
            "",
            [("slope", "insufficient_data", "single_day"), ("joint", "insufficient_data", "single_day")],
            "single_day",
        ),
        ("", [], "no_daily_panel"),
        ("no_unit_before_and_after", [], "no_unit_before_and_after"),
        ("", [("slope", "passed", ""), ("joint", "passed", "")], None),
        ("", [("slope", "failed", ""), ("joint", "insufficient_data", "singular_covariance")], None),
    ],
)
def test_the_evidence_says_why_nobody_can_test_the_trend_of_a_rollout(reason, tests, untested):
    metric, words = hm.metric("revenue"), ("variant_id", "metric_name", "test", "verdict", "reason")
    trends = [dict(zip(words, ("a", "revenue", *test), strict=True)) for test in tests]
    deciding = {("revenue", "a"): row("a", 10.6, method="did", reason=reason)}
    for design, expected in (("rollout", (untested,) if untested else ()), ("randomized", ())):
        plan = hm.plan([metric], days=35, arms=("control", "a"), design=design)
        assert evidence(deciding, [], trends, plan)[0].untested == expected


def test_the_evidence_of_each_arm_carries_its_doubts_and_whom_it_beats():
    metric = hm.metric("revenue")
    plan = hm.plan([metric], days=35, arms=("control", "a", "b"))
    found = rows(10.6, 10.1)
    found[1] |= {"reason": "few_clusters, cohort_dates_without_both_arms"}
    a, b = evidence({("revenue", r["variant_id"]): r for r in found}, [], [], plan)
    assert (a.beats, a.doubts) == (("b",), ())
    assert (b.beats, b.doubts) == ((), ("few_clusters",))
