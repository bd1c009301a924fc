"""The series of running values against a loop over users, days and events: every day's sums, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.oracle.spine_data import END, START, VARIANTS, metric, micros
from tests.unit.sums.unit_batches import batches

from exp_platform.config.models import Metric
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import METRIC_SERIES, METRIC_STATISTICS
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import Family, families
from exp_platform.metrics.values import Period, UnitValue, post_period, unit_values
from exp_platform.results.cube import Cube, cubes, read_axes
from exp_platform.results.series_cube import series_cubes
from exp_platform.sums.event_columns import EventColumns
from exp_platform.sums.group_sums import GROUP, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.numbers import stored_numbers
from exp_platform.sums.scales import Scales
from exp_platform.sums.series_plan import SeriesPlan, Span
from exp_platform.sums.series_sums import SERIES_SCHEMA, Changes, entries, series_cells
from exp_platform.sums.series_table import EPOCH, family_key, next_rows, series_rows, totals_of
from exp_platform.sums.series_units import TableUnits
from exp_platform.sums.statistics_table import Statistics, in_order
from exp_platform.sums.unit_days import DaySlots
from exp_platform.sums.unit_scales import ENDS_SCHEMA, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import SUMS_SCHEMA, by_column, unit_sums

METRICS = (
    metric("any_a", "binary"),
    metric("any_until_end", "binary", window={"end_hours": "experiment"}, pre_period_days=0),
    metric("count_b", "count", source="b"),
    metric("sum_a", "sum", window={"end_hours": 72, "truncate_at_end": True}, cap={"value": 3.5}),
    metric("sum_b_late", "sum", source="b", window={"start_hours": 24, "end_hours": 60.5}),
    metric("sum_b", "sum", source="b"),
    metric("back", "retention", source="b", window={"start_hours": 24, "end_hours": 48}),
    metric(
        "a_per_b", "ratio", numerator={"source": "a", "aggregation": "sum"},
        denominator={"source": "b", "aggregation": "count"},
    ),
)  # fmt: skip
SOME_WITHOUT = (
    metric("mean_a", "mean"),
    metric("max_a", "mean", aggregation="max", maturity="complete"),
    metric("last_b", "mean", aggregation="last", source="b"),
)
CAPPED = metric("capped_b", "sum", source="b", cap={"quantile": 0.9})
DAYS = [START.date() + timedelta(days=i) for i in range(10)]
VALUES = (0.1, 0.2, 0.3, 1.0, -1.0, 2.5, 7.25, 1e6, -3.75, 19.99)
Event = tuple[str, datetime, float]


def users(seed: int, count: int = 50) -> dict[str, dict[str, Any]]:
    """Users with arm, anchor, covariates and events, some of them on or beside a boundary."""
    random, found = Random(seed), {}
    for i in range(count):
        anchor = START + timedelta(hours=random.randrange(7 * 24), microseconds=random.choice((0, 1, 999_999)))
        events = []
        for _ in range(random.choice((0, 1, 4, 9))):
            hours = random.choice((-2, 0, 1, 12, 23, 24, 36, 48, 60, 72, 96, 120, 150)) + random.choice((0, 0, 0.37))
            when = anchor + timedelta(hours=hours, microseconds=random.choice((-1, 0, 1)))
            events.append((random.choice("ab"), when, random.choice(VALUES)))
        pre = {n.key: random.random() * 5 for n in stored_numbers((*METRICS, CAPPED)) if n.source == "covariates"}
        pre |= {m.name: random.choice((None, random.random() * 5)) for m in SOME_WITHOUT}
        found[f"u{i}"] = {"arm": VARIANTS[i % 2], "anchor": anchor, "events": sorted(set(events)), "pre": pre}
    return found


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def window(user: dict[str, Any], contract: Metric) -> tuple[datetime, datetime]:
    length = contract.window.end_hours
    until = END if length == "experiment" else user["anchor"] + timedelta(hours=length)
    until = min(until, END) if contract.window.truncate_at_end else until
    return user["anchor"] + timedelta(hours=contract.window.start_hours), until


def value_as_of(user: dict[str, Any], value: UnitValue, cutoff: datetime) -> float | None:
    """The user's value when only events before the cut-off are seen; null before its window opens."""
    first, last = window(user, value.metric)
    if first >= cutoff:
        return None
    mine = [(at, v) for s, at, v in user["events"] if s == value.source and first <= at < last and at < cutoff]
    total = float(sum((Fraction(v) for _, v in mine), Fraction(0)))
    if value.aggregation in ("sum", "count", "any"):
        return {"sum": total, "count": float(len(mine)), "any": float(any(v > 0 for _, v in mine))}[value.aggregation]
    if not mine:
        return None
    return {"mean": total / len(mine), "max": max(v for _, v in mine), "last": max(mine)[1]}[value.aggregation]


def unit_rows(found: dict[str, Any], metrics: Sequence[Metric], day: date) -> list[dict[str, Any]]:
    """J4's unit rows of a run of that day, by a loop."""
    cutoff, rows = end_of(day), []
    for user in (u for u in found.values() if u["anchor"] < cutoff):
        row = {"variant_id": user["arm"], "cohort_date": user["anchor"].date(), "unit_bucket": 0, "dimensions": []}
        for number in stored_numbers(metrics):
            value = next(v for v in unit_values(number.metric) if v.key == number.key)
            known = value_as_of(user, value, cutoff) if number.source == "metrics" else user["pre"].get(number.key)
            row[number.column] = None if number.source == "did_pre" else known
        for i, contract in enumerate(metrics):
            row[f"mature{i}"] = window(user, contract)[1] <= cutoff
        rows.append(row)
    return rows


@cache
def counted(seed: int, metrics: tuple[str, ...], day: date) -> tuple[Any, Any, list[tuple[Family, pa.Table]]]:
    """Scales, statistics and sums by family of a run of that day."""
    chosen = named(metrics)
    parts = batches(unit_rows(users(seed), chosen, day), 1000, chosen)
    count = sum(map(len, parts))
    scales = pooled_scales(pa.Table.from_batches(list(unit_ends(parts, chosen, count)), ENDS_SCHEMA), chosen, count)
    sums = pa.Table.from_batches(list(unit_sums(parts, chosen, scales)), SUMS_SCHEMA)
    by_family = [
        Statistics.of("e", family, roll_up(by_column(sums, family), GROUP), scales, VARIANTS)
        for family in families(chosen)
    ]
    schema, none = arrow_schema(TABLES[METRIC_STATISTICS]), Histograms.merged([])
    return scales, in_order([part.rows(none, schema) for part in by_family]), [(p.family, p.sums) for p in by_family]


def named(metrics: tuple[str, ...]) -> tuple[Metric, ...]:
    known = {m.name: m for m in (*METRICS, *SOME_WITHOUT, CAPPED)}
    return tuple(known[name] for name in metrics)


def plan_of(metrics: Sequence[Metric], scales: Scales, day: date) -> SeriesPlan:
    span = Span((START.date() - EPOCH).days, (day - EPOCH).days)
    periods = tuple(post_period(m, END) for m in metrics)
    return SeriesPlan(tuple(metrics), periods, scales, VARIANTS, span, frozenset(m.name for m in metrics))


def events_in_windows(found: dict[str, Any], slots: DaySlots, day: date) -> list[dict[str, Any]]:
    """The rows that Spark makes: the events of each user with a flag for each window."""
    order = {source: i for i, source in enumerate(slots.sources)}
    rows = []
    for name, user in found.items():
        for source, at, value in user["events"]:
            if at >= end_of(day) or user["anchor"] >= end_of(day) or source not in slots.windows:
                continue
            flags = {
                columns_of(slots).flag(cell): cell.source == source and inside(user, cell.period, at)
                for cell in series_cells(slots)
            }
            rows.append({"user_id": name, "source": order[source], "event_us": micros(at), "value": value} | flags)
    return rows


def columns_of(slots: DaySlots) -> EventColumns:
    return EventColumns(slots.sources, series_cells(slots))


def inside(user: dict[str, Any], period: Period, at: datetime) -> bool:
    anchor = micros(user["anchor"])
    ends = [e for e in (period.end_us and anchor + period.end_us, period.not_after_us) if e is not None]
    return anchor + period.start_us <= micros(at) < min(ends)


def series(seed: int, metrics: tuple[str, ...], day: date, parts: int = 1) -> pa.Table:
    """The series counted from all events; the rows of a user stay in one of the parts."""
    found, chosen = users(seed), named(metrics)
    plan = plan_of(chosen, counted(seed, metrics, day)[0], day)
    rows = [row for row in unit_table(found, chosen).to_pylist() if row["anchor_utc"] < end_of(day)]
    units = pa.Table.from_pylist(rows, UNIT_SCHEMA)
    values = [(v, plan.periods[i]) for i, m in enumerate(chosen) for v in unit_values(m)]
    slots = DaySlots.of(values)
    made = [
        batch
        for k in range(parts)
        for batch in entries(units.take(list(range(k, len(units), parts))).to_batches(), plan)
    ]
    events = events_in_windows(found, slots, day)
    for k in range(parts):
        mine = [row for row in events if int(row["user_id"][1:]) % parts == k]
        kernel = Changes(plan, slots, TableUnits(units), columns_of(slots))
        for batch in pa.Table.from_pylist(mine).to_batches(4) if mine else []:
            kernel.add(batch)
        made += list(kernel.rows())
    return series_rows(
        pa.Table.from_batches(made, SERIES_SCHEMA), plan, "e", arrow_schema(TABLES[METRIC_SERIES]), far=False
    )


UNIT_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("variant_id", pa.string()),
        ("anchor_utc", pa.timestamp("us", "UTC")),
        ("covariates", pa.map_(pa.string(), pa.float64())),
    ]
)


def unit_table(found: dict[str, Any], metrics: Sequence[Metric]) -> pa.Table:
    keys = [n.key for n in stored_numbers(metrics) if n.source == "covariates"]
    rows = [
        {
            "user_id": name,
            "variant_id": u["arm"],
            "anchor_utc": u["anchor"],
            "covariates": [(k, u["pre"][k]) for k in keys],
        }
        for name, u in found.items()
    ]
    return pa.Table.from_pylist(rows, UNIT_SCHEMA)


def by_name(found: list[Cube]) -> dict[str, tuple[Cube, int]]:
    return {m.name: (cube, j) for cube in found for j, m in enumerate(cube.metrics)}


NAMES = tuple(m.name for m in (*METRICS, *SOME_WITHOUT))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_days_up_to_one_have_the_sums_of_a_run_of_that_day_to_the_last_bit(seed: int) -> None:
    metrics = named(NAMES)
    found = by_name(series_cubes(series(seed, NAMES, DAYS[-1]), metrics, VARIANTS, DAYS))
    for number, day in enumerate(DAYS):
        statistics = counted(seed, NAMES, day)[1]
        ran = by_name(cubes(statistics, metrics, read_axes(statistics, VARIANTS)))
        for contract in metrics:
            (cube, j), (other, k) = found[contract.name], ran[contract.name]
            for name in ("n", "n_null", "y", "yy", "yyy", "d", "dd", "yd", "x", "xx", "xy", "dx"):
                got, want = getattr(cube.overall, name)[:, j, number], getattr(other.overall, name)[:, k, 0]
                where = f"{contract.name} {name} of {day}: {got} against {want}"
                same = np.array_equal(got, want) if contract in METRICS else np.allclose(got, want, rtol=1e-12)
                assert same, where
            assert np.array_equal(cube.n_mature.sum(axis=1)[:, j, number], other.n_mature.sum(axis=1)[:, k, 0])
            if cube.carriers is not None and other.carriers is not None:
                assert np.array_equal(cube.carriers[:, j, number], other.carriers[:, k, 0])


def test_the_same_bytes_come_from_one_partition_and_from_several() -> None:
    assert series(1, NAMES, DAYS[-1]) == series(1, NAMES, DAYS[-1], parts=3)


@pytest.mark.parametrize("day", [DAYS[3], DAYS[7]])
def test_one_more_day_has_the_bytes_of_counting_all_days_anew(day: date) -> None:
    metrics = named(NAMES)
    before, whole = series(2, NAMES, day - timedelta(days=1)), series(2, NAMES, day)
    scales, _, sums = counted(2, NAMES, day)
    totals = {family_key(family): totals_of(rows) for family, rows in sums}
    plan = plan_of(metrics, scales, day)
    more = next_rows(before, totals, plan, "e", arrow_schema(TABLES[METRIC_SERIES]))
    order = [(name, "ascending") for name in ("metric_name", "variant_id", "as_of")]
    assert pa.concat_tables([before, more]).sort_by(order) == whole


def test_every_metric_has_every_arm_and_day_with_a_change_or_without() -> None:
    rows = series(1, NAMES, DAYS[-1]).select(["metric_name", "variant_id", "as_of"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (name, arm, day) for name in sorted(NAMES) for arm in VARIANTS for day in DAYS
    ]


def test_a_moving_cap_is_told_and_holds_on_all_days() -> None:
    rows = series(1, ("capped_b",), DAYS[-1]).to_pylist()
    cap = counted(1, ("capped_b",), DAYS[-1])[0].cap("y0")
    assert cap is not None and {row["cap"] for row in rows} == {cap}
    assert {tuple(row["differs"]) for row in rows} == {("quantile_cap",)}
    assert {tuple(row["differs"]) for row in series(1, ("sum_b",), DAYS[-1]).to_pylist()} == {()}
