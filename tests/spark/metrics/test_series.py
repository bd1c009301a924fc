"""The series of running values: every day's sums are, to the last bit, those of a run of that day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import CUTOFF, END, START, VARIANTS, Data, metric
from tests.oracle.test_spine_oracle import awkward

from exp_platform.config.models import Metric
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_SERIES, METRIC_STATISTICS
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import Family, families
from exp_platform.results.cube import Cube, cubes, read_axes
from exp_platform.results.series_cube import series_cubes, series_days
from exp_platform.sums.group_sums import GROUP, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.series_plan import UNIT_COLUMNS, SeriesPlan
from exp_platform.sums.series_units import TableUnits
from exp_platform.sums.statistics_table import Statistics, in_order
from exp_platform.sums.unit_scales import ENDS_SCHEMA, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import SUMS_SCHEMA, by_column, unit_sums
from exp_platform.transforms.earlier_sums import LastRun
from exp_platform.transforms.event_pass import EventPass
from exp_platform.transforms.running_values import Series, SeriesInputs, metric_series
from exp_platform.transforms.unit_outcomes import unit_outcomes

pytestmark = pytest.mark.spark

# Every kind of value, without a cap that moves with the data.
PLAIN = (
    metric("any_a", "binary"),
    metric("any_until_end", "binary", window={"end_hours": "experiment"}, pre_period_days=0),
    metric("count_b", "count", source="b"),
    metric("sum_a_truncated", "sum", window={"end_hours": 72, "truncate_at_end": True}, cap={"value": 3.5}),
    metric("sum_b_late", "sum", source="b", window={"start_hours": 24, "end_hours": 60.5}),
    metric("sum_b", "sum", source="b"),
    metric("back", "retention", source="b", window={"start_hours": 24, "end_hours": 48}),
    metric(
        "a_per_b", "ratio", numerator={"source": "a", "aggregation": "sum"},
        denominator={"source": "b", "aggregation": "count"},
    ),
)  # fmt: skip
OTHERS = (
    metric("mean_a", "mean"),
    metric("max_a", "mean", aggregation="max", maturity="complete"),
    metric("last_b", "mean", aggregation="last", source="b"),
)
LAST = CUTOFF.date() - timedelta(days=1)
DAYS = [START.date() + timedelta(days=i) for i in range((LAST - START.date()).days + 1)]


@dataclass(frozen=True)
class InMemory:
    """Rows of an Arrow table as the batches of a kernel."""

    table: pa.Table

    @property
    def rows(self) -> int:
        return self.table.num_rows

    def collect(self, kernel: Any, schema: str) -> pa.Table:
        halves = (self.table.slice(0, self.rows // 2), self.table.slice(self.rows // 2))
        return pa.Table.from_batches([batch for half in halves for batch in kernel(half.to_batches())])


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=START.tzinfo) + timedelta(days=1)


def as_of(data: Data, day: date) -> Data:
    """The users and events that a run of a day sees."""
    included = [row for row in data.cohort if row["anchor_utc"] is not None and row["anchor_utc"] < end_of(day)]
    return Data(included, [row for row in data.outcomes if row["outcome_ts"] < end_of(day)])


def unit_rows(spark: Any, data: Data, metrics: Sequence[Metric], day: date) -> pa.Table:
    """J4's unit rows of a run of that day."""
    return unit_outcomes(*as_of(data, day).frames(spark), metrics, end_ts=END, cutoff=end_of(day)).toArrow()


def sums_of(units: pa.Table, metrics: Sequence[Metric]) -> tuple[Any, list[tuple[Family, pa.Table]]]:
    """J5's scales and sums by family."""
    ends = pa.Table.from_batches(list(unit_ends(units.to_batches(), metrics, units.num_rows)), ENDS_SCHEMA)
    scales = pooled_scales(ends, metrics, units.num_rows)
    sums = pa.Table.from_batches(list(unit_sums(units.to_batches(), metrics, scales)), SUMS_SCHEMA)
    return scales, [(family, roll_up(by_column(sums, family), GROUP)) for family in families(metrics)]


def statistics_of(units: pa.Table, metrics: Sequence[Metric]) -> pa.Table:
    """J5's statistics of some unit rows."""
    scales, sums = sums_of(units, metrics)
    schema, none = arrow_schema(TABLES[METRIC_STATISTICS]), Histograms.merged([])
    parts = [Statistics.of("exp_spine", family, rows, scales, VARIANTS) for family, rows in sums]
    return in_order([part.rows(none, schema) for part in parts])


def series_of(
    spark: Any, data: Data, metrics: Sequence[Metric], day: date, units: pa.Table, last: LastRun | None = None
) -> pa.Table:
    """The series as of a day, counted from all events, or with one day more than an earlier run's."""
    from exp_platform.sums.series_table import family_key, totals_of

    scales, sums = sums_of(units, metrics)
    wanted = units.select(UNIT_COLUMNS)
    inputs = SeriesInputs(InMemory(wanted), lambda: TableUnits(wanted), START)
    series = Series("exp_spine", inputs, metrics, VARIANTS, END, end_of(day), arrow_schema(TABLES[METRIC_SERIES]))

    def changes(plan: SeriesPlan) -> pa.Table:
        return EventPass(*as_of(data, day).frames(spark), end_of(day)).run([series.part(plan)])[0]

    totals = {
        family_key(family): totals_of(Statistics.of("exp_spine", family, rows, scales, VARIANTS).sums)
        for family, rows in sums
    }
    return metric_series(series, units["cohort_date"].to_pylist(), lambda: scales, totals, last, changes)[0]


def by_name(found: list[Cube]) -> dict[str, tuple[Cube, int]]:
    return {m.name: (cube, j) for cube in found for j, m in enumerate(cube.metrics)}


@pytest.fixture(scope="module")
def data() -> Data:
    return awkward(Random(8), users=60)


@pytest.fixture(scope="module")
def whole(spark: Any, data: Data) -> pa.Table:
    """The series of every metric as of the last day, counted from all events."""
    metrics = (*PLAIN, *OTHERS)
    return series_of(spark, data, metrics, LAST, unit_rows(spark, data, metrics, LAST))


# Metric -> the value of a unit and that of its denominator, as SQL over its events `v` of each source.
BY_HAND = {
    "any_a": ("max(CASE WHEN source = 'a' AND v > 0 THEN 1 ELSE 0 END)", "0"),
    "count_b": ("count(*) FILTER (source = 'b')", "0"),
    "sum_b": ("sum(v) FILTER (source = 'b')", "0"),
    "a_per_b": ("sum(v) FILTER (source = 'a')", "count(*) FILTER (source = 'b')"),
}
RUNNING = """
    WITH unit AS (
        SELECT u.user_id, u.variant_id, coalesce({value}, 0) AS y, coalesce({below}, 0) AS d
        FROM units u LEFT JOIN events e
            ON e.user_id = u.user_id AND e.at >= u.anchor AND e.at < u.anchor + INTERVAL 48 HOURS AND e.at < $seen
        WHERE u.anchor < $seen
        GROUP BY u.user_id, u.variant_id
    )
    SELECT variant_id, count(*), sum(y), sum(y * y), sum(d), sum(d * d), sum(y * d) FROM unit GROUP BY variant_id
"""


@pytest.mark.parametrize("name", BY_HAND)
def test_every_day_of_the_series_agrees_with_sql_over_the_raw_events(name: str, data: Data, whole: pa.Table) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    units = [{"user_id": r["user_id"], "variant_id": r["variant_id"], "anchor": r["anchor_utc"]} for r in data.cohort]
    events = [
        {"user_id": r["user_id"], "source": r["metric_name"], "v": r["value"], "at": r["outcome_ts"]}
        for r in data.outcomes
    ]
    connection.register("units", pa.Table.from_pylist([row for row in units if row["anchor"] is not None]))
    connection.register("events", pa.Table.from_pylist(events))
    value, below = BY_HAND[name]
    cube, j = by_name(series_cubes(whole, (*PLAIN, *OTHERS), VARIANTS, DAYS))[name]
    for number, day in enumerate(DAYS):
        found = connection.execute(RUNNING.format(value=value, below=below), {"seen": end_of(day)}).fetchall()
        by_arm = {arm: numbers for arm, *numbers in found}
        for a, arm in enumerate(VARIANTS):
            got = [float(getattr(cube.overall, part)[a, j, number]) for part in ("n", "y", "yy", "d", "dd", "yd")]
            assert got == pytest.approx(by_arm.get(arm, [0.0] * 6), rel=1e-12), f"{arm} on {day}"


def test_every_day_of_the_series_has_the_sums_of_a_run_of_that_day_to_the_last_bit(
    spark: Any, data: Data, whole: pa.Table
) -> None:
    metrics, series = (*PLAIN, *OTHERS), whole
    assert series_days(series) == tuple(DAYS), "every day is there, from the first on"
    found = by_name(series_cubes(series, metrics, VARIANTS, DAYS))
    for number, day in ((i, d) for i, d in enumerate(DAYS) if i in (1, 3, len(DAYS) - 1)):
        statistics = statistics_of(unit_rows(spark, data, metrics, day), metrics)
        ran = by_name(cubes(statistics, metrics, read_axes(statistics, VARIANTS)))
        for contract in metrics:
            (cube, j), (other, k) = found[contract.name], ran[contract.name]
            exact = contract in PLAIN
            for name in ("n", "n_null", "y", "yy", "yyy", "d", "dd", "yd", "x", "xx", "xy", "dx"):
                got = getattr(cube.overall, name)[:, j, number]
                want = getattr(other.overall, name)[:, k, 0]
                where = f"{contract.name} {name} of {day}: {got} against {want}"
                assert np.array_equal(got, want) if exact else np.allclose(got, want, rtol=1e-12, atol=1e-12), where
            assert np.array_equal(cube.n_mature.sum(axis=1)[:, j, number], other.n_mature.sum(axis=1)[:, k, 0])
