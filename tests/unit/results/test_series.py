"""Series for the memo: effects by day are those of J6, units have their sample ratio, quality has its failed days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from tests.hand_made import FIRST_DAY, empty, metric, plan, statistics
from tests.hand_made import Units as HandUnits

from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, METRIC_SERIES
from exp_platform.lake.types import arrow_schema
from exp_platform.results.analysis import analyze
from exp_platform.results.frame import to_table
from exp_platform.results.series import age_series, effect_series, exposure_quality_series, units_series
from exp_platform.sums.exact_sums import in_parts

DAYS, PER_DAY = 12, 40
SUM = metric("spend", "sum", practical_threshold=0.5)
PANEL = "gold.fct_experiment_panel_statistics"


def day_of(i: int) -> date:
    return FIRST_DAY + timedelta(days=i)


def units(seed: int = 3, effect: float = 1.0) -> HandUnits:
    """Forty units of each arm on each day; a unit has its whole value on its first day."""
    random = np.random.default_rng(seed)
    n = DAYS * PER_DAY * 2
    arm = np.where(np.arange(n) % 2 == 0, "control", "treatment").astype(object)
    pre = random.normal(10, 2, n)
    y = pre + random.normal(0, 1, n) + np.where(arm == "treatment", effect, 0.0)
    day = np.array([day_of(i) for i in (np.arange(n) // (2 * PER_DAY)).tolist()], dtype=object)
    return HandUnits(arm, day, y, pre)


def series_table(found: HandUnits, name: str = "spend", differs: tuple[str, ...] = ()) -> pa.Table:
    """The series of these units, exact sums in three parts."""
    rows: list[dict[str, Any]] = []
    for arm in ("control", "treatment"):
        for i in range(DAYS):
            here = (found.arm == arm) & (found.day == day_of(i))
            y, x = found.y[here].astype(float), found.pre[here].astype(float)
            zero = np.zeros(1)
            products = [y, y * y, y * y * y, zero, zero, zero, x, x * x, x * y, zero, zero]
            parts = [[float(p[0]) for p in in_parts([np.array([v]) for v in product], 3)] for product in products]
            first = [one[0] for one in parts]
            rows.append(
                {
                    "experiment_id": "exp_test", "metric_name": name, "metric_version": 1, "variant_id": arm,
                    "as_of": day_of(i), "n": int(here.sum()), "n_null": 0, "n_mature": 0, "n_x": int(here.sum()),
                    "covariates": ["pre"], "y": first[0], "yy": first[1], "yyy": first[2], "d": 0.0, "dd": 0.0,
                    "yd": 0.0, "x": [first[6]], "xx": [first[7]], "xy": [first[8]], "dx": [0.0], "without_x": [0.0],
                    "rest": [number for one in parts for number in one[1:]], "differs": list(differs),
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows, arrow_schema(TABLES[METRIC_SERIES]))


def results_of(found: HandUnits, day: int) -> pa.Table:
    """J6's published rows of a run of that day, from the statistics that it had."""
    seen = found.day <= day_of(day)
    mine = HandUnits(found.arm[seen], found.day[seen], found.y[seen], found.pre[seen])
    wanted = plan([SUM], days=day + 1, dimensions=())
    answer = analyze(exact_statistics(mine), empty(PANEL), wanted)
    of_run = dict.fromkeys(TABLES[ANALYSIS_RESULTS].columns.keys() - answer.results.keys())
    return to_table(ANALYSIS_RESULTS, answer.results, of_run | {"dt": day_of(day), "experiment_id": "exp_test"})


def exact_statistics(found: HandUnits) -> pa.Table:
    """The statistics with every sum rounded once and the rest beside it, as J5 writes them."""
    rows = statistics({SUM: found}).to_pylist()
    for row in rows:
        if row["unit_bucket"] != -1 or row["segment"] != "all":
            continue
        here = (found.arm == row["variant_id"]) & (found.day == row["cohort_date"])
        y, x, zero = found.y[here].astype(float), found.pre[here].astype(float), np.zeros(1)
        products = [y, y * y, y * y * y, zero, zero, zero, x, x * x, x * y, zero]
        parts = [[float(p[0]) for p in in_parts([np.array([v]) for v in product], 2)] for product in products]
        row |= {"y": parts[0][0], "yy": parts[1][0], "yyy": parts[2][0]}
        row |= {"x": [parts[6][0]], "xx": [parts[7][0]], "xy": [parts[8][0]]}
        row["rest"] = [one[1] for one in parts] + [0.0] * (len(row["did_v"]) + len(row["did_vv"]))
    kept = [row for row in rows if row["unit_bucket"] == -1 and row["segment"] == "all"]
    return pa.Table.from_pylist(kept, arrow_schema(TABLES["gold.fct_experiment_metric_statistics"]))


def test_every_point_is_what_a_run_of_that_day_published_to_the_last_bit() -> None:
    found, wanted = units(), plan([SUM], days=DAYS, dimensions=())
    published = pa.concat_tables([results_of(found, day) for day in (3, 7, DAYS - 1)])
    (spend,) = effect_series(series_table(found), wanted, published)
    assert [point.as_of for point in spend.points] == [day_of(i) for i in range(DAYS)]
    assert spend.method == "cuped" and spend.no_series == ""
    rows = {row["dt"]: row for row in published.to_pylist() if row["is_deciding"]}
    for point in spend.points:
        if point.as_of in rows:
            row = rows[point.as_of]
            assert (point.effect, point.low, point.high) == (
                row["effect_abs"], row["effect_abs_ci_low"], row["effect_abs_ci_high"],
            )  # fmt: skip
            assert (point.anytime_low, point.anytime_high) == (row["anytime_ci_low"], row["anytime_ci_high"])
            assert (point.control_n, point.status) == (row["control_n"], "ok")
            assert point.differs == ()
    assert spend.differs == ()


def test_a_point_says_that_its_run_published_something_else() -> None:
    found, wanted = units(), plan([SUM], days=DAYS, dimensions=())
    late = units()
    late.y[0] += 1.0  # an event that came in after the third day
    (spend,) = effect_series(series_table(late), wanted, results_of(found, 3))
    assert [point.as_of for point in spend.points if point.differs] == [day_of(3)]
    assert spend.differs == ("data_or_settings_of_that_day",)


def test_a_cap_that_moves_is_told_on_all_days_but_the_last() -> None:
    table = series_table(units(), differs=("quantile_cap",))
    (spend,) = effect_series(table, plan([SUM], days=DAYS, dimensions=()))
    assert [point.differs for point in spend.points] == [("quantile_cap",)] * (DAYS - 1) + [()]


def test_the_days_on_which_the_interval_cleared_zero_and_the_threshold_are_the_first_ones() -> None:
    (spend,) = effect_series(series_table(units()), plan([SUM], days=DAYS, dimensions=()))
    first = next(p for p in spend.points if p.anytime_low is not None and p.anytime_low > 0)
    assert spend.cleared_zero == first.as_of and spend.threshold == 0.5
    beyond = next((p for p in spend.points if p.anytime_low is not None and p.anytime_low > 0.5), None)
    assert beyond is not None and spend.cleared_threshold == beyond.as_of > first.as_of
    (flat,) = effect_series(series_table(units(effect=0.0)), plan([SUM], days=DAYS, dimensions=()))
    assert flat.cleared_zero is None and flat.cleared_threshold is None


def test_days_below_the_minimum_of_units_have_a_point_without_an_answer() -> None:
    (spend,) = effect_series(series_table(units()), plan([SUM], days=DAYS, dimensions=()))
    assert (spend.points[0].status, spend.points[0].effect) == ("insufficient_data", None)
    assert spend.points[0].control_n == PER_DAY and spend.points[-1].status == "ok"


def test_a_quantile_and_a_rollout_have_no_series_and_say_why() -> None:
    late = metric("p90", "quantile", quantile=0.9, level="unit")
    table = series_table(units())
    spend, p90 = effect_series(table, plan([SUM, late], days=DAYS, dimensions=()))
    assert len(spend.points) == DAYS and (p90.points, p90.no_series) == ((), "quantiles_have_no_series")
    (did,) = effect_series(table, plan([SUM], days=DAYS, dimensions=(), decision_method="did"))
    assert (did.points, did.no_series) == ((), "did_has_no_series")


def test_the_fixed_interval_is_in_force_from_the_planned_end_on() -> None:
    wanted = plan([SUM], days=DAYS, dimensions=(), end_ts=datetime(2026, 1, 2, tzinfo=UTC))
    (spend,) = effect_series(series_table(units()), wanted)
    forces = [point.in_force for point in spend.points]
    assert forces == ["anytime"] * 7 + ["fixed"] * (DAYS - 7), "end on day 2, a window of a week after it"
    assert spend.points[-1].interval == (spend.points[-1].low, spend.points[-1].high)
    assert spend.points[0].interval == (spend.points[0].anytime_low, spend.points[0].anytime_high)


def assigned(day: int, arm: str, count: int) -> dict[str, Any]:
    return {"date": day_of(day), "variant_id": arm, "assigned": count}


def test_units_add_up_day_by_day_and_a_day_without_any_is_there() -> None:
    rows = [assigned(0, "control", 10), assigned(0, "treatment", 12), assigned(2, "control", 5)]
    found = units_series(rows, plan([SUM], days=3))
    assert [(p.day, p.variant_id, p.new, p.total, p.expected) for p in found.points] == [
        (day_of(0), "control", 10, 10, 11.0), (day_of(0), "treatment", 12, 12, 11.0),
        (day_of(1), "control", 0, 10, 11.0), (day_of(1), "treatment", 0, 12, 11.0),
        (day_of(2), "control", 5, 15, 13.5), (day_of(2), "treatment", 0, 12, 13.5),
    ]  # fmt: skip
    assert [ratio.failed for ratio in found.sample_ratio] == [False] * 3 and found.failed_since is None


def test_the_sample_ratio_fails_from_its_first_day_on_and_a_rollout_promises_none() -> None:
    rows = [assigned(i, arm, n) for i in range(4) for arm, n in (("control", 300), ("treatment", 300 - 150 * (i > 0)))]
    found = units_series(rows, plan([SUM], days=4))
    assert found.failed_since == day_of(1)
    assert [ratio.failed for ratio in found.sample_ratio] == [False, True, True, True]
    rollout = units_series(rows, plan([SUM], days=4, design="rollout"))
    assert rollout.sample_ratio == () and {point.expected for point in rollout.points} == {None}
    assert units_series([], plan([SUM])).points == ()


def test_quality_by_day_names_the_days_that_failed() -> None:
    row = {"check_name": "exposure_logging", "observed": 0.5, "expected": 0.9, "threshold": 0.1, "p_value": 0.0}
    rows = [
        row | {"date": day_of(1), "status": "fail", "detail": "few"},
        row | {"date": day_of(0), "status": "ok", "detail": ""},
        row | {"date": day_of(0), "status": "warn", "detail": "", "check_name": "another"},
    ]
    another, logging = exposure_quality_series(rows)
    assert (another.check_name, another.failed) == ("another", ())
    assert [point.day for point in logging.points] == [day_of(0), day_of(1)] and logging.failed == (day_of(1),)


def test_the_effect_by_age_is_per_day_and_begins_with_the_newest_units() -> None:
    (spend,) = age_series(statistics({SUM: units()}), plan([SUM], days=DAYS, dimensions=()))
    assert [point.days for point in spend.points] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7, 7, 7, 7, 7]
    newest = spend.points[0]
    assert spend.per_day and newest.effect is not None and newest.low is not None and newest.high is not None
    here = units()
    means = [here.y[(here.arm == arm) & (here.day == day_of(DAYS - 1))].mean() for arm in ("treatment", "control")]
    assert np.isclose(newest.effect * 0.5, means[0] - means[1]) and newest.low < newest.effect < newest.high
