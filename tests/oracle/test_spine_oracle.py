"""The spine against the same rules written once more in DuckDB SQL: unit rows, statistics, histograms and panel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests import hand_made as hm
from tests.oracle.spine_data import CUTOFF, END, SOURCES, START, VARIANTS, WITH_COVARIATES, Data, micros
from tests.oracle.spine_data import METRICS as OWN_COVARIATES

from exp_platform.config.models import Metric
from exp_platform.lake.batches import FrameBatches
from exp_platform.lake.tables.names import (
    METRIC_AGGREGATES_DAILY,
    METRIC_AGGREGATES_OVERALL,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
)
from exp_platform.lake.types import arrow_schema
from exp_platform.pipelines.stream_view import StreamView, first_instant
from exp_platform.second_opinion.cells import Cell
from exp_platform.second_opinion.checked_histograms import binned, compare_histograms, histograms
from exp_platform.second_opinion.checked_panels import compare_panel, has_panel, make_panel
from exp_platform.second_opinion.compare import compare_sums
from exp_platform.second_opinion.recompute import recompute
from exp_platform.second_opinion.spine import DAY, Oracle
from exp_platform.transforms.metric_tables import metric_tables
from exp_platform.transforms.sum_inputs import SumInputs
from exp_platform.transforms.unit_outcomes import unit_outcomes

pytestmark = pytest.mark.spark

METRICS = (*OWN_COVARIATES, WITH_COVARIATES)
HOURS = (-96, -72, -48, -36, -24, -1, 0, 1, 12, 24, 36, 48, 60, 72, 96, 120)
TICKS = (-1, 0, 1)
VALUES = (0.0, 1.0, -1.0, 0.1, 0.2, 0.3, 2.5, 7.25, 1e6, -3.75, 1e-7)


def awkward(random: Random, users: int) -> Data:
    """Users whose events sit on, just before and just after every boundary, with ties, none, or very many."""
    data = Data()
    for i in range(users):
        at = START + timedelta(hours=random.randrange(7 * 24), microseconds=random.choice((0, 1, 999_999)))
        wait = timedelta(hours=random.choice((0, 0, 5, 30)))
        dims = {k: v for k, v in (("os", random.choice("xy")), ("land", random.choice("de"))) if random.random() < 0.8}
        user = f"u{i:03}"
        data.unit(user, at, random.choice(VARIANTS), wait=wait, **dims)
        for _ in range(random.choice((0, 1, 4, 12))):
            anchor = random.choice((at, at + wait, END, CUTOFF))
            when = anchor + timedelta(hours=random.choice(HOURS), microseconds=random.choice(TICKS))
            data.event(user, when, random.choice(VALUES), random.choice(SOURCES))
    data.excluded("v_excluded", START)
    data.event("v_excluded", START, 5.0)
    data.event("w_unknown", START, 5.0)
    return data


@st.composite
def small_tables(draw: Any) -> Data:
    """A handful of users; every instant is a boundary of somebody's window, or a microsecond beside it."""
    data = Data()
    for i in range(draw(st.integers(0, 6))):
        at = START + timedelta(hours=draw(st.sampled_from((0, 1, 24, 100, 143))))
        wait = timedelta(hours=draw(st.sampled_from((0, 6))))
        data.unit(f"u{i}", at, draw(st.sampled_from(VARIANTS)), wait=wait)
        for _ in range(draw(st.integers(0, 5))):
            hours, tick = draw(st.sampled_from(HOURS)), draw(st.sampled_from(TICKS))
            when = at + wait + timedelta(hours=hours, microseconds=tick)
            data.event(f"u{i}", when, draw(st.sampled_from(VALUES)), draw(st.sampled_from(SOURCES)))
    return data


def check(spark: Any, data: Data, lost: tuple[date, ...] = (), *, streamed: bool = False) -> None:
    """Run both and compare every number; the outcomes of the days `lost` are excluded."""
    cohort, outcomes = data.frames(spark)
    if streamed:
        outcomes = through_streams(spark, data)
    units = unit_outcomes(cohort, outcomes, METRICS, end_ts=END, cutoff=CUTOFF, excluded=lost).persist()
    found = {row["user_id"]: row for row in units.collect()}
    db = data.database({user: row["unit_bucket"] for user, row in found.items()})
    days = tuple(micros(datetime.combine(day, time(), UTC)) for day in lost)
    for day in days:
        db.execute(f"delete from outcomes where t >= {day} and t < {day + DAY}")
    oracle = Oracle(db, micros(END), micros(CUTOFF), days)
    compare_units(found, oracle, data)
    tables = metric_tables(
        SumInputs(
            "exp_spine",
            FrameBatches(units),
            cohort,
            outcomes,
            METRICS,
            VARIANTS,
            END,
            CUTOFF,
            cluster="land",
            excluded=lost,
        )
    )
    units.unpersist()
    rows = {name: table.to_pylist(maps_as_pydicts="strict") for name, table in tables.rows.items()}
    compare_statistics(rows[METRIC_STATISTICS], oracle)
    compare_to_the_last_bit(rows[METRIC_STATISTICS], replace(oracle, exact=True))
    compare_aggregates(rows[METRIC_AGGREGATES_OVERALL], rows[METRIC_STATISTICS])
    compare_cohort_days(rows[METRIC_AGGREGATES_DAILY], rows[METRIC_STATISTICS])
    compare_calendar_days(rows[METRIC_AGGREGATES_DAILY], oracle)
    compare_bins(rows[METRIC_STATISTICS], oracle)
    compare_panels(rows[PANEL_STATISTICS], oracle)


def through_streams(spark: Any, data: Data) -> Any:
    """The outcomes as the experiment reads them where two streams hold them, among rows that it must not read."""
    rows = [
        {"stream": stream, **row, "event_id": None, "source_file": "f", "ingested_at": END}
        for row in data.outcomes
        for stream in ("of_a", "of_b", "elsewhere")  # what a stream does not deliver is not read of it
    ]
    rows += [row | {"metric_name": "never", "value": 1e9} for row in rows[:9]]
    experiment = hm.experiment(METRICS, VARIANTS, experiment_id="exp_spine", start_ts=START, end_ts=END)
    names = (("of_a", ("a",)), ("of_b", ("b",)))
    view = StreamView("outcomes", "exp_spine", names, VARIANTS, first_instant(experiment, METRICS))
    return view.rows(spark.createDataFrame(pa.Table.from_pylist(rows, arrow_schema(view.table))))


def compare_units(found: dict[str, Any], oracle: Oracle, data: Data) -> None:
    assert set(found) == {row["user_id"] for row in data.cohort if row["included"]}
    for metric in METRICS:
        for key, source, aggregation in oracle.parts(metric):
            for user, _, _, _, mature, _, *_, y, x, p in oracle.db.execute(
                oracle.units(metric, source, aggregation)
            ).fetchall():
                row = found[user]
                where = f"{key} of {user}"
                assert close(row["metrics"][key], y), f"{where}: {row['metrics'][key]} against {y}"
                assert close(row["covariates"][key], x), f"{where}, covariate: {row['covariates'][key]} against {x}"
                assert close(row["did_pre"][key], p), f"{where}, before: {row['did_pre'][key]} against {p}"
                assert row["mature"][metric.name] == mature, f"maturity of {where}"


def compare_statistics(rows: list[dict[str, Any]], oracle: Oracle) -> None:
    for metric in METRICS:
        if not oracle.parts(metric) or metric.covariates:
            continue
        ours = {group(row): row for row in rows if row["metric_name"] == metric.name}
        theirs = {group(row): row for row in oracle.statistics(metric)}
        extra = {key for key in ours.keys() - theirs.keys() if ours[key]["n"] + ours[key]["n_null"]}
        assert not extra and theirs.keys() <= ours.keys(), metric.name
        ratio = metric.type == "ratio"
        for key, want in theirs.items():
            got = ours[key]
            for name, value in expected(want, ratio).items():
                assert close(got[name], value), f"{metric.name} {key} {name}: {got[name]} against {value}"
        for variant in VARIANTS:
            assert any(key[:2] == (variant, "all") for key in ours), f"{metric.name}: no row for {variant}"


def compare_to_the_last_bit(rows: list[dict[str, Any]], oracle: Oracle) -> None:
    """The sums as `exp canary` compares them: those that nothing rounds agree bit for bit."""
    for metric in METRICS:
        ours = [row for row in rows if row["metric_name"] == metric.name]
        again = recompute(oracle, metric)
        cells = compare_sums(metric, VARIANTS, ours, again)
        if metric.type == "quantile":
            compare_histograms(cells, ours, histograms(oracle, metric), exact=metric.of_events, scale=again.largest)
        agree(cells)


def expected(want: dict[str, Any], ratio: bool) -> dict[str, Any]:
    """The oracle's sums as columns of the statistics table."""
    x, v = ("xw", "ydpq") if ratio else ("x", "yp")
    columns = {name: want[name] for name in ("n", "n_null", "n_mature", "y", "yy", "yyy", "did_n")}
    columns |= {name: want[name] if ratio else 0.0 for name in ("d", "dd", "yd")}
    columns["with_denominator"] = want["n_d"] if ratio else None
    columns["x"] = [want[a] for a in x]
    columns["xx"] = [want[a + b if a + b in want else b + a] for a in x for b in x]
    columns["xy"] = [want[a + "y"] for a in x]
    columns["dx"] = [want[a + "d"] if ratio else 0.0 for a in x]
    columns["did_v"] = [want[f"v_{a}"] for a in v]
    columns["did_vv"] = [want[f"v_{a}{b}"] for a in v for b in v]
    return columns


def compare_aggregates(rows: list[dict[str, Any]], statistics: list[dict[str, Any]]) -> None:
    """The roll-up over cohort dates is the sum of the first grouping set."""
    for row in rows:
        parts = [
            s
            for s in statistics
            if s["unit_bucket"] == -1 and all(s[k] == row[k] for k in ("metric_name", "variant_id", "segment"))
        ]
        assert parts and row["n"] == sum(s["n"] for s in parts)
        if row["sum"] is not None:
            assert close(row["sum"], math.fsum(s["y"] for s in parts))
            assert close(row["covariate_cross_product"], math.fsum(s["xy"][0] for s in parts))


def compare_cohort_days(rows: list[dict[str, Any]], statistics: list[dict[str, Any]]) -> None:
    """The rows by cohort date are the first grouping set of the statistics, which the oracle has looked at."""
    ours = {group_of_day(row, row["date"]): row for row in rows if row["date_kind"] == "cohort"}
    theirs = {group_of_day(row, row["cohort_date"]): row for row in statistics if row["cohort_date"] is not None}
    assert ours.keys() == theirs.keys()
    for key, want in theirs.items():
        got = ours[key]
        assert (got["n"], got["n_null"]) == (want["n"], want["n_null"]), key
        if got["sum"] is None:
            continue
        pairs = {"sum": want["y"], "sum_squares": want["yy"], "covariate_sum": want["x"][0]}
        pairs |= {"covariate_sum_squares": want["xx"][0], "covariate_cross_product": want["xy"][0]}
        if got["denominator_sum"] is not None:
            pairs |= {"denominator_sum": want["d"], "denominator_sum_squares": want["dd"]}
            pairs |= {"denominator_cross_product": want["yd"]}
        for name, value in pairs.items():
            assert close(got[name], value), f"{key} {name}: {got[name]} against {value}"


def compare_calendar_days(rows: list[dict[str, Any]], oracle: Oracle) -> None:
    """Sums of events by UTC day inside the windows, for metrics that add up over days."""
    adds_up = [m for m in METRICS if m.type != "quantile" and all(p[2] in ("sum", "count") for p in oracle.parts(m))]
    calendar = [row for row in rows if row["date_kind"] == "calendar"]
    assert {row["metric_name"] for row in calendar} <= {m.name for m in adds_up}
    for metric in adds_up:
        ours = {group_of_day(row, row["date"]): row for row in calendar if row["metric_name"] == metric.name}
        theirs = {group_of_day({"metric_name": metric.name} | row, row["date"]): row for row in oracle.calendar(metric)}
        assert ours.keys() == theirs.keys(), metric.name
        for key, want in theirs.items():
            got = ours[key]
            assert got["n"] == want["n"], f"{key}: {got['n']} units against {want['n']}"
            assert close(got["sum"], want["v0"]), f"{key}: {got['sum']} against {want['v0']}"
            assert close(got["denominator_sum"], want.get("v1")), f"{key}: the denominator"


def compare_bins(rows: list[dict[str, Any]], oracle: Oracle) -> None:
    """The bins of every group, also those of each unit bucket."""
    for metric in METRICS:
        if metric.type == "quantile":
            theirs = {(*group(r), r["bin"]): [r["n"], r["low"], r["high"]] for r in binned(oracle, metric)}
            ours = {(*group(row), bin_): rest for row, bin_, rest in bins_of(rows, metric)}
            assert ours.keys() == theirs.keys()
            assert all(close(ours[key], theirs[key]) for key in theirs)  # a unit's value is a sum, which both round


def bins_of(rows: list[dict[str, Any]], metric: Metric) -> Iterator[tuple[dict[str, Any], int, list[Any]]]:
    """Row, bin, and the bin's count and extremes; the extremes stand in the order of the bins."""
    for row in rows:
        if row["metric_name"] == metric.name and row["histogram"]:
            ordered = sorted(row["histogram"].items())
            for (bin_, n), low, high in zip(ordered, row["histogram_lows"], row["histogram_highs"], strict=True):
                yield row, bin_, [n, low, high]


def compare_panels(rows: list[dict[str, Any]], oracle: Oracle) -> None:
    """Every row of every panel, with the users and sums of clusters, as `exp canary` compares them."""
    with_panel = [metric for metric in METRICS if has_panel(oracle, metric)]
    assert {row["metric_name"] for row in rows} <= {metric.name for metric in with_panel}
    for metric in with_panel:
        cells = {variant: Cell(metric.name, variant) for variant in VARIANTS}
        compare_panel(cells, [r for r in rows if r["metric_name"] == metric.name], make_panel(oracle, metric, "land"))
        agree(cells)


def agree(cells: dict[str, Cell]) -> None:
    for cell in cells.values():
        assert cell.differ == 0, f"{cell.metric_name} in {cell.variant_id}: {cell.examples}"


def group(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in ("variant_id", "segment", "cohort_date", "unit_bucket"))


def group_of_day(row: dict[str, Any], day: Any) -> tuple[Any, ...]:
    return (*(row[k] for k in ("metric_name", "variant_id", "segment")), day)


def close(ours: Any, theirs: Any) -> bool:
    """Equal, up to the rounding of the oracle's own sums."""
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-10, abs_tol=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_number_agrees_with_the_oracle_on_awkward_data(spark: Any, seed: int) -> None:
    check(spark, awkward(Random(seed), users=150))


def test_every_number_agrees_with_the_oracle_where_the_events_come_from_streams(spark: Any) -> None:
    check(spark, awkward(Random(1), users=60), streamed=True)


LOST = (date(2026, 1, 4), date(2026, 1, 8), date(2026, 1, 9))  # a day before the start, and two in the middle


def test_every_number_agrees_with_the_oracle_where_days_of_outcomes_are_excluded(spark: Any) -> None:
    check(spark, awkward(Random(3), users=150), LOST)


@pytest.mark.slow
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=small_tables())
def test_every_number_agrees_with_the_oracle_on_small_tables(spark: Any, data: Data) -> None:
    check(spark, data)


def test_an_experiment_without_any_unit_has_rows_of_zeros_for_each_live_arm(spark: Any) -> None:
    check(spark, Data())
