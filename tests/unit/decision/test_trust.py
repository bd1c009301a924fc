"""Findings that cost the trust in a result, and findings that only ask for caution."""

from __future__ import annotations

from datetime import date

import pytest

from exp_platform.config.models import Acknowledgement
from exp_platform.decision.trust import OF_ONE_METRIC, TrustVerdict, trust_of
from exp_platform.status import Trust


def quality(check: str, status: str) -> dict:
    return {"check_name": check, "status": status, "date": date(2026, 1, 5)}


def validation(check: str, status: str, metric: str = "all") -> dict:
    return {"check_name": check, "status": status, "metric_name": metric}


@pytest.mark.parametrize(
    ("rows", "checks", "mode", "trust", "reasons"),
    [
        ([], [], "itt", "trusted", ()),
        ([quality("exposure_logging", "ok")], [validation("srm_assigned", "ok")], "itt", "trusted", ()),
        ([], [validation("srm_assigned", "fail")], "itt", "not_trusted", ("srm_failed:srm_assigned",)),
        ([], [validation("srm_analysed", "fail")], "exposed", "not_trusted", ("srm_failed:srm_analysed",)),
        ([], [validation("srm_fixed_assigned", "fail")], "itt", "not_trusted", ("srm_failed:srm_fixed_assigned",)),
        ([], [validation("srm_fixed_analysed", "warn")], "itt", "caution", ("caution:srm_fixed_analysed",)),
        ([], [validation("srm_by_day", "warn")], "itt", "caution", ("caution:srm_by_day",)),
        ([quality("exposure_logging", "fail")], [], "itt", "caution", ("caution:exposure_logging",)),
        ([quality("exposure_logging", "fail")], [], "exposed", "not_trusted", ("quality_failed:exposure_logging",)),
        ([quality("variant_mismatch", "fail")], [], "itt", "not_trusted", ("quality_failed:variant_mismatch",)),
        (
            [quality("multi_variation_exposure", "fail")],
            [],
            "itt",
            "not_trusted",
            ("quality_failed:multi_variation_exposure",),
        ),
        ([quality("variant_mismatch", "warn")], [], "itt", "caution", ("caution:variant_mismatch",)),
        ([], [validation("skewness", "warn", "revenue")], "itt", "caution", ("caution:skewness:revenue",)),
        ([], [validation("skewness", "warn", "refunds")], "itt", "trusted", ()),  # refunds decide nothing
        ([], [validation("aa_pre_period", "fail", "refunds")], "itt", "caution", ("caution:aa_pre_period:refunds",)),
        ([], [validation("aa_pre_period", "fail", "revenue")], "itt", "caution", ("caution:aa_pre_period:revenue",)),
        (
            [quality("exposure_logging", "fail")],
            [validation("srm_assigned", "fail")],
            "itt",
            "not_trusted",
            ("srm_failed:srm_assigned", "caution:exposure_logging"),
        ),
    ],
)
def test_trust(rows, checks, mode, trust, reasons):
    verdict = trust_of(rows, checks, mode, {"revenue"})
    assert (verdict.trust, verdict.reasons) == (trust, reasons)


def test_a_check_that_fails_on_many_days_is_one_reason():
    rows = [quality("exposure_logging", "fail") | {"date": date(2026, 1, day)} for day in (5, 6, 7)]
    assert trust_of(rows, [], "exposed", set()).reasons == ("quality_failed:exposure_logging",)


def test_an_exploratory_result_is_a_caution_and_no_more():
    changed = ("primary_changed:revenue to conversion",)
    assert trust_of([], [], "itt", set()) == TrustVerdict(Trust.TRUSTED, ())
    assert trust_of([], [], "itt", set(), changed) == TrustVerdict(Trust.CAUTION, changed)


@pytest.mark.parametrize(
    ("statuses", "reasons"),
    [
        ({"srm_assigned": "fail", "srm_analysed": "fail", "srm_by_segment": "warn"}, ("srm_failed:srm_assigned",)),
        ({"srm_assigned": "ok", "srm_analysed": "fail", "srm_by_day": "warn"}, ("srm_failed:srm_analysed",)),
        ({"srm_fixed_assigned": "warn", "srm_fixed_analysed": "fail"}, ("srm_failed:srm_fixed_analysed",)),
        ({"srm_fixed_analysed": "warn", "srm_by_day": "warn"}, ("caution:srm_fixed_analysed",)),
    ],
)
def test_a_broken_sample_ratio_is_one_reason_however_many_checks_see_it(statuses, reasons):
    rows = [validation(name, status) for name, status in statuses.items()]
    assert trust_of([], rows, "itt", set()).reasons == reasons


@pytest.mark.parametrize("check", sorted(OF_ONE_METRIC))
def test_a_check_of_one_metric_costs_trust_only_where_the_metric_decides(check):
    row = validation(check, "warn", "revenue")
    assert trust_of([], [row], "itt", {"conversion"}).trust is Trust.TRUSTED
    assert trust_of([], [row], "itt", {"conversion", "revenue"}).reasons == (f"caution:{check}:revenue",)


def acknowledged(check: str, **keys) -> Acknowledgement:
    return Acknowledgement(check=check, reason="known", by="ana", **keys)


LOGGING = acknowledged("exposure_logging", dates=date(2026, 1, 5))


def test_an_acknowledged_failure_costs_no_trust_and_is_a_reason_all_the_same():
    verdict = trust_of([quality("exposure_logging", "fail")], [], "exposed", set(), acknowledged=[LOGGING])
    assert (verdict.trust, verdict.reasons) == (Trust.TRUSTED, ("acknowledged:exposure_logging",))


def test_an_acknowledgement_covers_no_other_day_metric_or_check():
    rows = [quality("exposure_logging", "fail"), quality("exposure_logging", "fail") | {"date": date(2026, 1, 6)}]
    assert trust_of(rows, [], "exposed", set(), acknowledged=[LOGGING]).reasons == (
        "quality_failed:exposure_logging",
        "acknowledged:exposure_logging",
    )
    doubts = [validation("outliers", "warn", "revenue"), validation("outliers", "warn", "latency")]
    of_revenue = [acknowledged("outliers", metric="revenue")]
    assert trust_of([], doubts, "itt", {"revenue", "latency"}, acknowledged=of_revenue) == TrustVerdict(
        Trust.CAUTION, ("caution:outliers:latency", "acknowledged:outliers")
    )


def test_an_acknowledged_check_that_is_ok_is_no_reason():
    assert trust_of([quality("exposure_logging", "ok")], [], "exposed", set(), acknowledged=[LOGGING]).reasons == ()
