"""The second implementation's histograms: which values count, in which bin, and what a published quantile must be."""

from __future__ import annotations

from typing import Any

import pytest
from tests import hand_made as hm
from tests.unit.second_opinion.small_events import DAY1, assigned, attribute, database, outcome, put, users

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import Cell
from exp_platform.second_opinion.checked_histograms import (
    Bins,
    compare_histograms,
    compare_levels,
    histograms,
    quantile_ends,
)

ONE, TWO = 300_000, 300_256  # bins of the values 1 and 2
CONTROL = ("control", "all", DAY1)


def quantile(level: str, **more: Any) -> Metric:
    return hm.metric(
        "load", "quantile", level=level, source="load", window={"end_hours": 24}, pre_period_days=1, **more
    )


def made(metric: Metric, hours: float = 96) -> dict[Any, Bins]:
    """u1 has events of 1, 1 and 2 in the window, one before and one after it; u2 one of 5 a day later; u3 none."""
    with database() as db:
        put(db, "assignments", assigned("u1", "control"), assigned("u2", "control", 30), assigned("u3", "control"))
        put(db, "outcomes", *(outcome("u1", value, hour, "load") for value, hour in ((1, 2), (1, 3), (2, 4))))
        put(
            db,
            "outcomes",
            outcome("u1", 7.0, 0, "load"),
            outcome("u1", 7.0, 25, "load"),
            outcome("u2", 5.0, 31, "load"),
        )
        put(db, "attributes", attribute("u1", "x"))
        return histograms(users(db, [metric], hours), metric)


def test_events_in_the_window_are_binned_by_segment_and_date_and_over_all_buckets() -> None:
    found = made(quantile("event"))
    mine = {ONE: (2, 1.0, 1.0), TWO: (1, 2.0, 2.0)}
    assert found[CONTROL] == found["control", "os=x", DAY1] == mine
    assert sum(n for n, _, _ in found["control", "all", None].values()) == 4


def test_a_cap_holds_for_each_event_and_complete_windows_alone_may_be_asked_for() -> None:
    assert made(quantile("event", cap={"value": 1.0}))[CONTROL] == {ONE: (3, 1.0, 1.0)}
    assert made(quantile("event"), hours=40)["control", "all", None].keys() > {ONE, TWO}
    assert made(quantile("event", maturity="complete"), hours=40)["control", "all", None].keys() == {ONE, TWO}


def test_users_are_binned_by_the_value_of_each() -> None:
    found = made(quantile("unit"))
    assert found[CONTROL] == {0: (1, 0.0, 0.0), TWO + 256: (1, 4.0, 4.0)}, "u3 has none, u1 four"


def row(bins: Bins, **keys: Any) -> dict[str, Any]:
    """A row of the statistics with these bins; a map comes in any order."""
    ordered = sorted(bins)
    return {
        "variant_id": "control", "segment": "all", "cohort_date": DAY1, "unit_bucket": -1,
        "histogram": {code: bins[code][0] for code in reversed(ordered)},
        "histogram_lows": [bins[code][1] for code in ordered], "histogram_highs": [bins[code][2] for code in ordered],
    } | keys  # fmt: skip


def differences(again: dict[Any, Bins], *rows: dict[str, Any], exact: bool = True) -> list[str]:
    cell = Cell("load", "control")
    compare_histograms({"control": cell}, rows, again, exact=exact)
    assert cell.differ >= len(cell.examples)
    return [example.partition(":")[0] for example in cell.examples]


BINS: Bins = {ONE: (3, 1.0, 1.001), TWO: (1, 2.0, 2.0)}
PART: Bins = {ONE: (1, 1.0, 1.0)}
REST: Bins = {ONE: (2, 1.0, 1.001), TWO: (1, 2.0, 2.0)}


def test_rows_by_bucket_are_added_up_before_they_are_compared() -> None:
    again = {CONTROL: BINS, ("control", "all", None): BINS}
    buckets = [row(PART, cohort_date=None, unit_bucket=3), row(REST, cohort_date=None, unit_bucket=200)]
    assert differences(again, row(BINS), *buckets) == []
    assert differences(again, row(BINS), buckets[1]) == [f"values in bin {ONE} of all, all buckets"]


@pytest.mark.parametrize(
    ("changed", "found"),
    [({ONE: (4, 1.0, 1.001)}, "values in bin"), ({ONE: (3, 1.0 + 2**-52, 1.001)}, "smallest value of bin"),
     ({ONE: (3, 1.0, 1.0)}, "largest value of bin")],
)  # fmt: skip
def test_a_count_or_an_extreme_of_a_bin_that_differs_is_found(changed: Bins, found: str) -> None:
    assert differences({CONTROL: BINS}, row(BINS | changed)) == [f"{found} {ONE} of all, 2026-01-05"]


def test_a_bin_too_many_or_too_few_is_found_and_users_values_may_be_rounded() -> None:
    assert len(differences({CONTROL: BINS}, row({ONE: BINS[ONE]}))) == 3
    assert len(differences({CONTROL: {ONE: BINS[ONE]}}, row(BINS))) == 3
    assert differences({CONTROL: BINS})[0] == f"values in bin {ONE} of all, 2026-01-05", "the row is not there"
    near = row(BINS | {ONE: (3, 1.0 + 2**-52, 1.001)})
    assert differences({CONTROL: BINS}, near, exact=False) == []


def test_a_quantile_lies_in_the_bin_that_holds_the_exact_one() -> None:
    hundred = {code: (1, float(code), float(code)) for code in range(1, 101)}
    assert quantile_ends(hundred, 0.29) == (29.0, 29.0), "0.29 * 100 is a little less than 29"
    assert quantile_ends(hundred, 0.291) == (30.0, 30.0)
    assert quantile_ends({}, 0.5) is None


@pytest.mark.parametrize(
    ("changed", "differ"),
    [({}, 0), ({"control_mean": 1.0005}, 0), ({"control_mean": 1.002}, 1), ({"control_mean": None}, 1),
     ({"control_n": 3}, 1), ({"treatment_mean": 2.0000001}, 1), ({"effect_abs": 0.99}, 1)],
)  # fmt: skip
def test_a_published_level_outside_of_its_bin_is_a_difference(changed: dict[str, Any], differ: int) -> None:
    published = {"metric_name": "load", "variant_id": "treatment", "method": "ab", "segment": "all", "control_n": 2,
                 "control_mean": 1.0, "treatment_n": 1, "treatment_mean": 2.0, "effect_abs": 1.0} | changed  # fmt: skip
    if changed.keys() & {"control_mean", "treatment_mean"} and published["control_mean"] is not None:
        published["effect_abs"] = published["treatment_mean"] - published["control_mean"]
    cells = {"treatment": Cell("load", "treatment")}
    again = {CONTROL: BINS, ("treatment", "all", DAY1): {TWO: (1, 2.0, 2.0)}}
    counted = {("control", "all"): 2, ("treatment", "all"): 1}
    compare_levels(quantile("event"), "control", cells, [published], again, counted)
    assert cells["treatment"].differ == differ, cells["treatment"].examples
