"""J6 and J7: all assigned users beside the exposed ones, from sums made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests import hand_made as hm
from tests.unit.results.test_analysis import one, rows

from exp_platform.config.models import Metric
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.analysis import Analysis, analyze
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.exposure import exposure_checks
from exp_platform.results.plan import AnalysisPlan

EXPOSURES = "gold.fct_experiment_exposure_statistics"
METHODS = ("itt", "exposed", "complier", "diluted")


def drawn(seed: int, rate: float = 0.5, effect: float = 1.0, spill: float = 0.0, **keys: Any) -> hm.Units:
    """Users of whom a share is exposed; the exposed of the treatment have the effect, the others `spill`."""
    units = hm.draw_units(seed, 2000, **keys)
    exposed = np.random.default_rng(seed).random(len(units.arm)) < rate
    treated = units.arm == "treatment"
    units.y = units.y + treated * np.where(exposed, effect, spill) * (1 if units.d is None else units.d)
    units.country = np.where(exposed, "yes", "no").astype(object)
    return units


def exposures(*pairs: tuple[Metric, hm.Units]) -> pa.Table:
    """Rows of the exposure statistics: by hand, with `exposed` in the place of `country`."""
    sums = hm.statistics(list(pairs))
    sums = sums.filter(pc.equal(sums["unit_bucket"], -1))
    segments = pc.replace_substring(sums["segment"], "country=", "exposed=")
    sums = sums.set_column(sums.schema.get_field_index("segment"), "segment", segments)
    return sums.cast(pa.schema([f.with_nullable(True) for f in arrow_schema(TABLES[EXPOSURES])]))


def run(plan: AnalysisPlan, *pairs: tuple[Metric, hm.Units]) -> Analysis:
    return analyze(hm.statistics(list(pairs)), hm.empty(hm.PANEL), plan, exposures(*pairs))


def test_each_metric_has_four_rows_from_all_users_and_the_exposed_and_none_of_them_decides():
    metrics = [hm.metric("revenue"), hm.metric("orders")]
    plan = hm.plan(metrics)
    found = rows(run(plan, *((m, drawn(i)) for i, m in enumerate(metrics))), plan)
    mine = [r for r in found if r["method"] in METHODS]
    assert {(r["metric_name"], r["method"], r["segment"]) for r in mine} == {
        (m, method, "all") for m in ("revenue", "orders") for method in METHODS
    }
    assert not any(r["is_deciding"] or r["p_value_adjusted"] is not None for r in mine)
    assert all(r["status"] == "ok" and r["effect_abs_ci_low"] < r["effect_abs"] for r in mine)


def test_the_itt_row_is_the_plain_row_of_all_users_and_the_others_follow_from_the_exposed():
    metric, units = hm.metric("revenue"), drawn(3)
    plan = hm.plan([metric])
    answer = run(plan, (metric, units))
    itt, exposed, complier, diluted = (one(answer, plan, method=m, segment="all") for m in METHODS)
    plain = one(answer, plan, method="ab", segment="all")
    same = set(plain) - {"method", "heterogeneity_p_value"}
    assert {name: itt[name] for name in same} == {name: plain[name] for name in same}
    seen = units.country == "yes"
    control, treatment = (seen & (units.arm == arm) for arm in ("control", "treatment"))
    assert exposed["effect_abs"] == pytest.approx(units.y[treatment].mean() - units.y[control].mean())
    assert (exposed["control_n"], exposed["treatment_n"]) == (control.sum(), treatment.sum())
    assert complier["effect_abs"] == pytest.approx(itt["effect_abs"] / (treatment.sum() / 2000))
    assert diluted["effect_abs"] == pytest.approx(exposed["effect_abs"] * seen.mean())
    assert complier["effect_rel"] is None and diluted["effect_rel"] is not None


def test_the_other_rows_of_an_experiment_do_not_change():
    metric, units = hm.metric("revenue"), drawn(4)
    plan = hm.plan([metric])
    alone = rows(analyze(hm.statistics([(metric, units)]), hm.empty(hm.PANEL), plan), plan)
    beside = [r for r in rows(run(plan, (metric, units)), plan) if r["method"] not in METHODS]
    assert beside == alone


def test_a_ratio_has_all_but_the_diluted_effect_and_a_quantile_none_of_the_four():
    metrics = [hm.metric("share", "ratio"), hm.metric("half", "quantile")]
    plan = hm.plan(metrics)
    answer = run(plan, (metrics[0], drawn(5, kind="ratio")), (metrics[1], drawn(6)))
    statuses = {r["method"]: r["status"] for r in rows(answer, plan, metric_name="share", segment="all")}
    assert [statuses[m] for m in METHODS] == ["ok", "ok", "ok", "not_applicable"]
    assert {r["method"] for r in rows(answer, plan, metric_name="half")} == {"ab", "cuped", "did"}


@pytest.mark.parametrize("rate", [0.0, None])
def test_where_nobody_is_exposed_or_nothing_was_split_there_are_no_such_rows(rate):
    metric, units = hm.metric("revenue"), drawn(7, rate=rate or 0.0)
    plan = hm.plan([metric])
    split = exposures((metric, units)) if rate is not None else hm.empty(EXPOSURES)
    answer = analyze(hm.statistics([(metric, units)]), hm.empty(hm.PANEL), plan, split)
    assert {r["method"] for r in rows(answer, plan)} == {"ab", "cuped", "did"}


def checked(metric: Metric, units: hm.Units) -> list[dict[str, Any]]:
    plan, statistics = hm.plan([metric]), hm.statistics([(metric, units)])
    axes = read_axes(statistics, plan.arms)
    inputs = CheckInputs(plan, statistics, cubes(statistics, [metric], axes), axes, [], {})
    return exposure_checks(replace(inputs, exposures=exposures((metric, units))))


@pytest.mark.parametrize(("spill", "status"), [(0.0, "ok"), (0.05, "ok"), (0.6, "warn")])
def test_the_diluted_effect_must_agree_with_the_effect_on_all_users(spill, status):
    (row,) = checked(hm.metric("revenue"), drawn(8, spill=spill))
    assert (row["check_name"], row["status"], row["threshold"]) == ("exposure_agreement", status, 0.001)
    assert row["observed"] - row["expected"] == pytest.approx(spill * 0.5, abs=0.1)


def test_agreement_is_not_asked_of_a_ratio_or_where_everyone_is_exposed():
    assert checked(hm.metric("share", "ratio"), drawn(9, kind="ratio")) == []
    assert checked(hm.metric("revenue"), drawn(10, rate=1.0)) == []


def test_the_hand_made_table_is_as_declared():
    metric = hm.metric("revenue")
    assert exposures((metric, drawn(11))).schema.names == list(TABLES[EXPOSURES].columns)
