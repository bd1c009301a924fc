"""The sealed plan: which row a run adds, and what the promise binds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import norm
from tests import hand_made as hm

from exp_platform.config.models import Acknowledgement, Exclusion, Guardrail
from exp_platform.config.policy import DEFAULT
from exp_platform.results.seal import (
    Seal,
    acknowledged_in,
    changed_keys,
    content_of,
    differences,
    hash_of,
    next_seal,
    promise_of,
    text_of,
)
from exp_platform.stats.sequential import always_valid_p, tuning

NOW = datetime(2026, 1, 14, 1, tzinfo=UTC)
METRICS = [hm.metric("conversion", "binary", practical_threshold=0.005), hm.metric("latency", direction="decrease")]
GUARDRAIL = Guardrail(metric="latency", max_relative_harm=0.05)
END = hm.START + timedelta(days=28)  # the primary's windows close a week later


def plan(days: int = 14, sealed_from=None, **keys):
    """The plan as of a day, bound by the seal of `sealed_from`."""
    found = hm.plan(METRICS, days, **({"guardrails": (GUARDRAIL,)} | keys))
    return replace(found, promise=promise_of(content_of(sealed_from, DEFAULT))) if sealed_from else found


def content(policy=DEFAULT, metrics=METRICS, **keys):
    return content_of(hm.plan(metrics, **({"guardrails": (GUARDRAIL,)} | keys)), policy)


def seal(found, day: int = 14, run_id: str = "run_1") -> Seal:
    return Seal.unnumbered(found, NOW, date(2026, 1, day), run_id, "airflow")


def test_equal_plans_have_equal_bytes_and_one_hash():
    again = content(metrics=[hm.metric("conversion", "binary", practical_threshold=0.005), METRICS[1]])
    assert text_of(content()) == text_of(again)
    assert hash_of(content()) == hash_of(again) != hash_of(content(alpha=0.1))
    assert json.loads(text_of(content()))["planned_end"] == "2026-02-05T00:00:00Z"


def test_a_seal_is_read_back_from_its_row_as_it_was_written():
    written = replace(seal(content()), number=2, changes=("alpha: 0.05 → 0.1",), effect="none")
    assert Seal.of(written.row("exp_test")) == written


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, ()),
        ({"name": "Another name", "owner": "others"}, ()),
        ({"hypothesis": "It is worse."}, ("hypothesis: It is better. → It is worse.",)),
        ({"alpha": 0.1}, ("alpha: 0.05 → 0.1",)),
        ({"guardrails": ()}, ("guardrails.latency.max_relative_harm: 0.05 → not set",)),
        (
            {"guardrails": (Guardrail(metric="latency", max_absolute_harm=2.0),)},
            (
                "guardrails.latency.max_absolute_harm: not set → 2.0",
                "guardrails.latency.max_relative_harm: 0.05 → not set",
            ),
        ),
        (
            {"end_ts": END - timedelta(days=1)},
            (
                "end_ts: 2026-01-29T00:00:00Z → 2026-01-28T00:00:00Z",
                "planned_end: 2026-02-05T00:00:00Z → 2026-02-04T00:00:00Z",
            ),
        ),
        ({"decision_method": "ab"}, ("decision_method: cuped → ab",)),
        ({"streams": {"outcomes": ("web", "app")}}, ("streams.outcomes: not set → app, web",)),
        ({"planned_users": 500}, ("planned_users: 10000 → 500",)),
    ],
)
def test_a_change_is_told_as_key_from_and_to(keys, said):
    assert differences(content(), content(**keys)) == said


def test_policy_and_metric_versions_are_parts_of_the_plan():
    other = content(
        policy=DEFAULT.model_copy(update={"min_days": 0, "description": "Other words."}),
        metrics=[METRICS[0].model_copy(update={"version": 2}), METRICS[1]],
    )
    assert differences(content(), other) == ("metrics.conversion: 1 → 2", "policy.min_days: 7 → 0")
    assert changed_keys(content(), other) == ("metrics", "policy")


def test_a_key_that_only_newer_code_seals_is_no_amendment():
    older = {key: value for key, value in content().items() if key != "min_units"}
    assert differences(older, content()) == () == differences(content(), older)


def test_the_first_run_that_sees_the_start_seals_the_plan():
    assert hm.plan(METRICS, days=1).has_started and not hm.plan(METRICS, days=0).has_started
    assert next_seal([], seal(content()), sees_start=False, is_backfill=False) is None
    first = next_seal([], seal(content()), sees_start=True, is_backfill=False)
    assert first is not None and (first.number, first.changes) == (0, ())


def test_only_a_changed_plan_adds_an_amendment():
    first = seal(content())
    assert next_seal([first], seal(content(), 15), sees_start=True, is_backfill=False) is None
    second = next_seal([first], seal(content(alpha=0.1), 15, "run_2"), sees_start=True, is_backfill=False)
    assert second is not None and (second.number, second.changes) == (1, ("alpha: 0.05 → 0.1",))
    third = next_seal([first, second], seal(content(), 15), sees_start=True, is_backfill=False)
    assert third is not None and (third.number, third.changes) == (2, ("alpha: 0.1 → 0.05",))


def test_a_run_for_an_earlier_day_adds_no_amendment():
    first = seal(content(), 14)
    changed = content(alpha=0.1)
    assert next_seal([first], seal(changed, 13), sees_start=True, is_backfill=False) is None
    assert next_seal([first], seal(changed, 15), sees_start=True, is_backfill=True) is None
    assert next_seal([first], seal(changed, 14), sees_start=True, is_backfill=False) is not None


def test_a_start_that_is_moved_into_the_future_is_an_amendment_too():
    later = content(start_ts=hm.START + timedelta(days=20))
    moved = next_seal([seal(content())], seal(later), sees_start=False, is_backfill=False)
    assert moved is not None and moved.number == 1


@pytest.mark.parametrize(
    ("end", "day", "interval"),
    [
        (END, 34, "anytime"),
        (END, 35, "fixed"),
        (END - timedelta(days=14), 20, "anytime"),
        (END - timedelta(days=14), 21, "anytime"),  # the planned end of the amended plan
        (END - timedelta(days=14), 35, "anytime"),  # the first planned end, without the data that it was meant for
        (END + timedelta(days=7), 35, "anytime"),
        (END + timedelta(days=7), 42, "fixed"),
    ],
)
def test_an_end_moved_after_the_start_never_brings_the_fixed_interval_early(end, day, interval):
    assert plan(day, sealed_from=plan(), end_ts=end).interval_in_force == interval


def test_an_end_moved_to_a_good_day_and_waited_out_keeps_the_promised_error():
    """2,000 A/A experiments: the end is moved to the first day, from the 7th on, whose fixed p is below alpha."""
    experiments, days, alpha = 2000, 28, 0.05
    daily = np.random.default_rng(15).normal(size=(experiments, days))
    z = daily.cumsum(axis=1) / np.sqrt(np.arange(1, days + 1))
    fixed = 2 * norm.sf(np.abs(z))
    anytime = always_valid_p(z, np.arange(1, days + 1) * 400, tuning(alpha, days * 400))
    good = fixed[:, 6:] < alpha
    stopped = np.where(good.any(axis=1), good.argmax(axis=1) + 6, days - 1)
    at_the_end = np.array([p[np.arange(experiments), stopped] for p in (fixed, anytime)]) < alpha
    moved = plan(35, sealed_from=plan(), end_ts=END - timedelta(days=14)).interval_in_force
    error = {"fixed": at_the_end[0].mean(), "anytime": at_the_end[1].mean()}
    assert error["fixed"] > 0.15
    assert error[moved] < 0.05


def test_without_a_seal_the_planned_end_alone_decides():
    assert plan(21, end_ts=END - timedelta(days=14)).interval_in_force == "fixed"
    assert plan(20, end_ts=END - timedelta(days=14)).interval_in_force == "anytime"


@pytest.mark.parametrize(("day", "interval"), [(34, "anytime"), (35, "fixed")])
def test_a_shorter_window_waits_for_the_first_planned_end(day, interval):
    shorter = [hm.metric("conversion", "binary", window={"end_hours": 24}, version=2), METRICS[1]]
    found = hm.plan(shorter, day, guardrails=(GUARDRAIL,))
    bound = replace(found, promise=promise_of(content()))
    assert bound.planned_end == END + timedelta(days=1)
    assert bound.interval_in_force == interval


def test_another_primary_than_the_sealed_one_is_a_changed_primary():
    assert not plan(sealed_from=plan()).primary_changed
    assert plan(sealed_from=plan(), primary_metric="latency").primary_changed
    assert plan(sealed_from=plan(primary_metric=None)).primary_changed
    assert not plan(primary_metric="latency").primary_changed  # nothing is sealed


def test_the_anytime_interval_stays_tuned_to_the_users_planned_first():
    assert plan(sealed_from=plan(), planned_users=100).planned_users == 10_000
    assert plan(planned_users=100).planned_users == 100


def test_days_of_assignment_are_counted_up_to_the_dt_and_never_beyond_the_end():
    found = plan(days=5)
    ends = (found.experiment.end_ts - found.experiment.start_ts).days
    assert found.assignment_days == (found.cutoff - found.experiment.start_ts).days > 0
    assert replace(found, cutoff=found.experiment.start_ts).assignment_days == 0
    assert replace(found, cutoff=found.experiment.start_ts - timedelta(days=3)).assignment_days == 0
    assert replace(found, cutoff=found.experiment.end_ts + timedelta(days=40)).assignment_days == ends


EXCLUDED = Exclusion(dates=(date(2026, 1, 9), date(2026, 1, 10)), what="exposures", reason="a lost queue", by="ana")
ACKNOWLEDGED = (
    Acknowledgement(check="outliers", metric="latency", reason="one reseller", by="ben"),
    Acknowledgement(check="cap", reason="no spread yet", by="ben"),
    Acknowledgement(check="exposure_logging", dates=date(2026, 1, 9), reason="a holiday", by="ana"),
)


def test_a_plan_without_excluded_days_has_the_bytes_that_it_had_before_they_could_be():
    assert not {"exclude", "acknowledge", "streams"} & content().keys()


def test_an_experiment_that_moves_to_a_stream_and_back_tells_both_as_changes():
    moved = content(streams={"outcomes": ("shop_events",), "exposures": ("seen",)})
    back = content(streams={"exposures": ("seen",)})
    assert differences(content(), moved) == (
        "streams.exposures: not set → seen",
        "streams.outcomes: not set → shop_events",
    )
    assert differences(moved, back) == ("streams.outcomes: shop_events → not set",)
    assert changed_keys(content(), moved) == ("streams",)
    other_order = content(streams={"exposures": ("seen",), "outcomes": ("shop_events",)})
    assert hash_of(moved) == hash_of(other_order) != hash_of(content())


def test_each_excluded_day_and_each_acknowledged_check_is_a_change_with_reason_and_name():
    changes = differences(content(), content(exclude=(EXCLUDED,), acknowledge=ACKNOWLEDGED))
    assert changes == (
        "acknowledge.cap all metrics: not set → no spread yet (ben)",
        "acknowledge.exposure_logging 2026-01-09: not set → a holiday (ana)",
        "acknowledge.outliers latency: not set → one reseller (ben)",
        "exclude.exposures 2026-01-09: not set → a lost queue (ana)",
        "exclude.exposures 2026-01-10: not set → a lost queue (ana)",
    )
    assert changed_keys(content(), content(exclude=(EXCLUDED,))) == ("exclude",)


def test_an_exclusion_that_is_taken_back_is_an_amendment_too():
    with_it = replace(seal(content(exclude=(EXCLUDED,))), number=1)
    back = next_seal([seal(content()), with_it], seal(content(), day=15), sees_start=True, is_backfill=False)
    assert back is not None and back.number == 2
    assert back.changes[0] == "exclude.exposures 2026-01-09: a lost queue (ana) → not set"


def test_the_acknowledgements_of_a_sealed_plan_cover_what_they_covered():
    found = acknowledged_in(content(acknowledge=ACKNOWLEDGED))
    same = sorted(((a.check, a.metric, a.dates) for a in ACKNOWLEDGED), key=str)
    assert sorted(((a.check, a.metric, a.dates) for a in found), key=str) == same
    assert acknowledged_in(content()) == ()
