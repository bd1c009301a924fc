"""The effect of amendments on the verdict: which decisions two plans give on the same published rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from tests import hand_made as hm

from exp_platform.config.models import Guardrail
from exp_platform.config.policy import DEFAULT
from exp_platform.decision.amended import effect_on_verdict
from exp_platform.decision.evidence import evidence, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import TrustVerdict
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.seal import content_of, promise_of
from exp_platform.status import Trust

METRICS = (hm.metric("conversion"), hm.metric("latency", direction="decrease"))
GUARDRAIL = Guardrail(metric="latency", max_relative_harm=0.05)
END = hm.START + timedelta(days=28)
TRUSTED = TrustVerdict(Trust.TRUSTED, ())
# metric -> effect, half of the fixed interval, half of the anytime one, p fixed, p anytime; relative to a level of 1.
SEEN = {"conversion": (0.10, 0.08, 0.16, 0.01, 0.40), "latency": (0.00, 0.02, 0.04, 1.0, 1.0)}


def rows(seen=SEEN, method="cuped", arms=("treatment",)):
    """Published rows of the whole cohort."""
    found = []
    for metric, (effect, fixed, anytime, p, anytime_p) in seen.items():
        ends = {"abs_ci": fixed, "rel_ci": fixed}
        numbers = {f"effect_{k}_low": effect - w for k, w in ends.items()}
        numbers |= {f"effect_{k}_high": effect + w for k, w in ends.items()}
        numbers |= {f"anytime_{k}low": effect - anytime for k in ("ci_", "rel_ci_")}
        numbers |= {f"anytime_{k}high": effect + anytime for k in ("ci_", "rel_ci_")}
        for arm in arms:
            found.append(
                {"metric_name": metric, "variant_id": arm, "segment": "all", "method": method, "status": "ok"}
                | {"reason": "", "effect_abs": effect, "effect_rel": effect, "p_value": p, "p_value_rel": p}
                | {"anytime_p_value": anytime_p, "anytime_p_value_rel": anytime_p, "control_mean": 1.0}
                | {"p_value_adjusted": np.nan, "treatment_n": 1000, "treatment_mean": 1.1, "treatment_sd": 1.0}
                | {"is_deciding": True, "alpha": 0.05, **numbers}
            )
    return found


def plan(days: int, metrics=METRICS, **keys) -> AnalysisPlan:
    return hm.plan(metrics, days, **({"guardrails": (GUARDRAIL,)} | keys))


def effect(days: int = 36, then=None, now=None, policy=DEFAULT, seen=None, metrics=METRICS, sealed_policy=DEFAULT):
    """The effect of changing the sealed keys `then` to the keys `now`."""
    sealed = content_of(plan(days, **(then or {})), sealed_policy)
    found = replace(plan(days, metrics, **(now or {})), promise=promise_of(sealed))
    published = seen or rows()
    deciding = {(row["metric_name"], row["variant_id"]): row for row in published}
    for row in published:
        row["p_value_adjusted"] = row["p_value" if found.interval_in_force == "fixed" else "anytime_p_value"]
    guardrails = guardrail_rows(deciding, found)
    verdicts = decide(evidence(deciding, guardrails, [], found), TRUSTED, moment(found), policy)
    decisions = {verdict.variant_id: verdict.decision.value for verdict in verdicts}
    return effect_on_verdict(sealed, content_of(found, policy), found, decisions, published, [], TRUSTED)


def test_other_words_for_the_hypothesis_change_no_verdict():
    found = effect(now={"hypothesis": "It is bigger."})
    assert found.text == "none as of 2026-02-05: both plans give ship"


def test_an_end_moved_earlier_ships_by_the_sealed_plan_alone():
    found = effect(now={"end_ts": END - timedelta(days=14)})
    assert (found.sealed["all"], found.present["all"]) == ("ship", "inconclusive")
    assert found.text == (
        "as of 2026-02-05 the sealed plan gives ship, the present one inconclusive; the results hold nobody who came "
        "after the earlier end, 2026-01-15 00:00 UTC"
    )


def test_before_either_end_the_results_are_those_of_both_plans():
    assert effect(days=10, now={"end_ts": END - timedelta(days=14)}).text == (
        "none as of 2026-01-10: both plans give keep running"
    )


def test_an_end_moved_later_says_that_users_came_after_the_sealed_one():
    found = effect(now={"end_ts": END + timedelta(days=14)})
    assert (found.sealed["all"], found.present["all"]) == ("ship", "keep_running")
    assert found.text.endswith("; the results also hold users who came after the sealed end, 2026-01-29 00:00 UTC")


def test_a_changed_primary_is_decided_by_the_sealed_one_too():
    found = effect(now={"primary_metric": "latency"})
    assert (found.sealed["all"], found.present["all"]) == ("ship", "inconclusive")


@pytest.mark.parametrize(
    ("then", "now", "decisions"),
    [
        ({"guardrails": (Guardrail(metric="latency", max_relative_harm=0.01),)}, {}, ("inconclusive", "ship")),
        ({}, {"guardrails": (Guardrail(metric="latency", max_relative_harm=0.01),)}, ("ship", "inconclusive")),
        ({}, {"guardrails": ()}, ("ship", "ship")),
    ],
)
def test_margins_are_those_of_each_plan(then, now, decisions):
    found = effect(then=then, now=now)
    assert (found.sealed["all"], found.present["all"]) == decisions


def test_the_policy_is_that_of_each_plan():
    strict = DEFAULT.model_copy(update={"min_days": 60})
    found = effect(policy=strict)
    assert (found.sealed["all"], found.present["all"]) == ("ship", "inconclusive")
    found = effect(sealed_policy=strict)
    assert (found.sealed["all"], found.present["all"]) == ("inconclusive", "ship")


def test_the_method_is_that_of_each_plan():
    by_ab = rows({"conversion": (0.0, 0.1, 0.2, 0.9, 1.0), "latency": SEEN["latency"]}, method="ab")
    found = effect(then={"decision_method": "ab"}, seen=[*by_ab, *rows()])
    assert (found.sealed["all"], found.present["all"]) == ("inconclusive", "ship")


def test_several_arms_are_named_where_they_differ_and_adjusted_together():
    arms = ("control", "a", "b")
    seen = rows({"conversion": (0.10, 0.09, 0.16, 0.03, 0.40), "latency": SEEN["latency"]}, arms=arms[1:])
    keys = {"arms": arms, "guardrails": (GUARDRAIL,)}
    found = effect(now={**keys, "hypothesis": "Other."}, then=keys, seen=seen)
    assert found.sealed == {"a": "inconclusive", "b": "inconclusive", "all": "inconclusive"}  # Holm: 0.06


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"alpha": 0.1}, ("alpha",)),
        ({"analysis_mode": "exposed"}, ("analysis_mode",)),
        ({"min_units": 50}, ("min_units",)),
        ({"metrics": (METRICS[0].model_copy(update={"version": 2}), METRICS[1])}, ("metrics.conversion",)),
    ],
)
def test_where_the_numbers_themselves_changed_it_says_that_nothing_can_be_told(keys, named):
    metrics = keys.pop("metrics", METRICS)
    found = effect(now=keys, metrics=metrics)
    assert found.sealed is None and found.unknown == named
    assert found.text.startswith("not to be told from the published results of 2026-02-05")
    assert named[0] in found.text
