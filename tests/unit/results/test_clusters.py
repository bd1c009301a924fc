"""A rollout whose errors are between clusters: its effect, its pre-trends and the check of its attribute."""

from __future__ import annotations

import numpy as np
import pytest
from tests import hand_made as hm
from tests.unit.results.test_analysis import one, rows, run
from tests.unit.results.test_checks import checks, inputs

from exp_platform.results.plan import AnalysisPlan

STORES = 40


def rollout(cluster: str | None = "country", **keys: object) -> AnalysisPlan:
    return hm.plan([hm.metric("revenue")], design="rollout", dimensions=(), cluster=cluster, **keys)


def units(seed: int = 43) -> hm.Units:
    """Twenty stores in each arm."""
    found = hm.draw_units(seed, 600, days=1)
    rng = np.random.default_rng(seed)
    store = rng.integers(0, STORES // 2, len(found.arm)) + np.where(found.arm == "treatment", STORES // 2, 0)
    found.country = np.array([f"s{s:02d}" for s in store], dtype=object)
    found.y = found.y + rng.normal(0, 0.5, STORES)[store]
    return found


def panel_of(found: hm.Units, shock: float, drift: float = 0.0, known: float = 1.0, seed: int = 5) -> object:
    """Daily values with a shock of each store on each day; a share of units has no store."""
    rng = np.random.default_rng(seed)
    names = sorted(set(found.country))
    shocks = rng.normal(0, shock, (len(names), 14))
    matrices, stores = {}, {}
    for arm in ("control", "treatment"):
        mine = found.country[found.arm == arm]
        rows_of = shocks[[names.index(store) for store in mine]]
        matrices[arm] = rng.normal(1, 1, (len(mine), 14)) + rows_of + (arm == "treatment") * drift * np.arange(14)
        stores[arm] = np.where(rng.random(len(mine)) < known, mine, None)
    return hm.panel("revenue", matrices, clusters=stores)


def test_shocks_of_stores_fail_pre_trends_between_units_and_seldom_between_stores():
    found, failed = units(), {None: 0, "country": 0}
    for seed in range(12):
        panel = panel_of(found, shock=0.5, seed=seed)
        for cluster in failed:
            answer = run(rollout(cluster), (hm.metric("revenue"), found), panel=panel)
            assert answer.tests["test"].tolist() == ["slope", "joint"]
            failed[cluster] += "failed" in set(answer.tests["verdict"])
    assert failed[None] == 12
    assert failed["country"] <= 3  # 5% of parallel worlds: more than 3 of 12 would be luck of 1 in 450


def test_pre_trends_between_stores_that_pass_leave_an_answer():
    found = units()
    answer = run(rollout("country"), (hm.metric("revenue"), found), panel=panel_of(found, shock=0.0))
    assert set(answer.tests["verdict"]) == {"passed"}
    assert one(answer, rollout(), method="did", segment="all")["status"] == "ok"


def test_a_drift_of_the_treated_stores_is_no_parallel_trend():
    found = units()
    answer = run(rollout(), (hm.metric("revenue"), found), panel=panel_of(found, shock=0.1, drift=0.1))
    assert one(answer, rollout(), method="did", segment="all")["status"] == "failed_pretrends"


def test_units_without_a_store_are_one_more_cluster_of_the_panel():
    found = units()
    answer = run(rollout(), (hm.metric("revenue"), found), panel=panel_of(found, shock=0.1, known=0.9))
    everybody = run(rollout(None), (hm.metric("revenue"), found), panel=panel_of(found, shock=0.1, known=0.9))
    assert answer.deltas["delta"] == pytest.approx(everybody.deltas["delta"])
    assert set(answer.tests["verdict"]) == {"passed"}


def test_with_fewer_stores_than_days_the_slope_stands_alone_and_its_pass_is_a_pass():
    found = units()
    found.country = np.array([f"s{int(name[1:]) // 4:02d}" for name in found.country], dtype=object)
    answer = run(rollout(), (hm.metric("revenue"), found), panel=panel_of(found, shock=0.1))
    assert answer.tests["test"].tolist() == ["slope"]
    assert answer.tests["reason"].tolist() == ["fewer_clusters_than_days"]
    row = one(answer, rollout(), method="did", segment="all")
    assert (row["status"], row["reason"]) == ("ok", "few_clusters")


def test_clusters_are_counted_by_arm_and_are_no_segments_of_the_results():
    found = units()
    given = inputs(rollout(), (hm.metric("revenue"), found))
    (row,) = checks(given, "clusters")
    assert (row["status"], row["observed"]) == ("ok", 1.0)
    assert row["detail"].endswith("clusters: 20 in control, 20 in treatment")
    assert rows(run(rollout(), (hm.metric("revenue"), found)), rollout(), segment="country=s01") == []


@pytest.mark.parametrize(("lacking", "status"), [(0.04, "ok"), (0.06, "warn")])
def test_some_units_without_the_attribute_are_a_warning(lacking: float, status: str):
    found = units()
    keep = np.random.default_rng(1).permutation(len(found.arm)) < (1 - lacking) * len(found.arm)
    found.country = np.where(keep, found.country, None)
    (row,) = checks(inputs(rollout(), (hm.metric("revenue"), found)), "clusters")
    assert row["status"] == status and row["observed"] == pytest.approx(1 - lacking, abs=0.01)


def test_an_attribute_that_no_unit_has_is_a_failed_check_and_the_errors_say_that_they_are_between_units():
    found = units()
    found.country = None
    given = inputs(rollout("store"), (hm.metric("revenue"), found))
    (row,) = checks(given, "clusters")
    assert (row["status"], row["observed"]) == ("fail", 0.0)
    assert "no unit has the attribute 'store'" in row["detail"]
    answer = run(rollout("store"), (hm.metric("revenue"), found))
    assert "unit_level_errors" in one(answer, rollout("store"), method="did", segment="all")["reason"]


@pytest.mark.parametrize("plan", [hm.plan([hm.metric("revenue")]), rollout(None)], ids=["randomised", "no cluster"])
def test_nothing_is_asked_without_clusters(plan: AnalysisPlan):
    assert checks(inputs(plan, (hm.metric("revenue"), units())), "clusters") == []
