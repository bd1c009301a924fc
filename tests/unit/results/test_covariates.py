"""Covariates of J6: strata from the segments' sums, gains by source, and ratios that count their denominators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from tests import hand_made as hm

from exp_platform.lake.tables.names import ANALYSIS_RESULTS, PANEL_STATISTICS
from exp_platform.results.analysis import analyze
from exp_platform.results.frame import to_table
from exp_platform.results.plan import AnalysisPlan

RUN = {"experiment_id": "e", "run_id": "r", "input_snapshots": "{}", "config_hash": "c", "code_version": "v"}


def rows(statistics: pa.Table, plan: AnalysisPlan) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Result rows by metric, method and segment."""
    answer = analyze(statistics, hm.empty(PANEL_STATISTICS), plan)
    table = to_table(ANALYSIS_RESULTS, answer.results, RUN | {"dt": plan.dt, "computed_at": plan.cutoff})
    return {(row["metric_name"], row["method"], row["segment"]): row for row in table.to_pylist()}


def by_country(units: hm.Units, size: float = 2.0) -> hm.Units:
    """Germans have more."""
    return replace(units, y=units.y + size * (units.country == "DE"))


def test_strata_of_the_registry_give_the_regression_on_unit_rows_and_their_gain() -> None:
    metric, units = hm.metric("revenue"), by_country(hm.draw_units(3, 500))
    found = rows(hm.statistics([(metric, units)]), hm.plan([metric], stratify_by="country"))
    row = found["revenue", "cuped", "all"]
    treated = units.arm == "treatment"
    design = np.column_stack([~treated, treated, units.pre, units.country == "DE"]).astype(float)
    fit = sm.OLS(units.y, design).fit()
    assert row["effect_abs"] == pytest.approx(fit.params[1] - fit.params[0], rel=1e-9)
    gains = dict(row["variance_reduction_by_covariate"])
    assert list(gains) == ["pre", "country"] and gains["country"] > 0.2
    assert sum(gains.values()) == pytest.approx(row["variance_reduction"], rel=1e-9)
    assert (row["status"], row["reason"]) == ("ok", "")
    segment = found["revenue", "cuped", "country=DE"]
    assert (segment["reason"], list(dict(segment["variance_reduction_by_covariate"]))) == ("", ["pre"])


def test_without_strata_the_own_pre_period_is_the_one_source_and_other_methods_have_none() -> None:
    metric, units = hm.metric("revenue"), by_country(hm.draw_units(3, 500))
    found = rows(hm.statistics([(metric, units)]), hm.plan([metric]))
    row = found["revenue", "cuped", "all"]
    assert row["variance_reduction_by_covariate"] == [("pre", row["variance_reduction"])]
    assert found["revenue", "ab", "all"]["variance_reduction_by_covariate"] is None


def test_a_dimension_that_no_user_has_is_named_as_left_out() -> None:
    metric, units = hm.metric("revenue"), replace(hm.draw_units(3, 500), country=None)
    found = rows(hm.statistics([(metric, units)]), hm.plan([metric], stratify_by="country"))
    row = found["revenue", "cuped", "all"]
    assert (row["status"], row["reason"]) == ("ok", "covariate_constant:country")
    plain = rows(hm.statistics([(metric, units)]), hm.plan([metric]))["revenue", "cuped", "all"]
    assert row["effect_abs_ci_low"] == pytest.approx(plain["effect_abs_ci_low"], rel=1e-12)


def ratio(carriers: int) -> tuple[Any, pa.Table]:
    """Four hundred units in each arm, of which so many have a denominator."""
    metric, units = hm.metric("per_visit", "ratio"), hm.draw_units(5, 400, kind="ratio")
    idle = np.tile(np.arange(400) >= carriers, 2)
    units = replace(units, d=np.where(idle, 0.0, units.d), y=np.where(idle, 0.0, units.y))
    return metric, hm.statistics([(metric, units)])


@pytest.mark.parametrize(("carriers", "answer"), [(99, "insufficient_data"), (100, "ok")])
def test_a_ratio_needs_min_units_with_a_denominator_in_each_arm(carriers: int, answer: str) -> None:
    metric, statistics = ratio(carriers)
    found = rows(statistics, hm.plan([metric]))
    for method in ("ab", "cuped"):
        row = found["per_visit", method, "all"]
        few = "few_units_with_denominator" if answer != "ok" else ""
        assert (row["status"], row["reason"]) == (answer, few), method


def test_a_ratio_whose_denominators_older_code_did_not_count_takes_their_lower_bound() -> None:
    metric, statistics = ratio(99)
    place = statistics.column_names.index("with_denominator")
    older = statistics.set_column(place, "with_denominator", pa.nulls(statistics.num_rows, pa.int64()))
    assert rows(older, hm.plan([metric]))["per_visit", "ab", "all"]["status"] == "ok"
