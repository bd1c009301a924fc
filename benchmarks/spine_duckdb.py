"""DuckDB doing what J4 and J5 do, from the raw Parquet files: the yardstick of the spine's benchmark.

Plain double sums, no exact order-free arithmetic: what a skilled analyst would write for one machine. With a folder it
also leaves what J4 leaves, the cohort and the unit rows as Parquet, and checks both; else numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from exp_platform.config.models import Metric
from exp_platform.metrics.families import families
from exp_platform.metrics.values import DAY_US, UnitValue, hours_us, pre_period_days, unit_values
from exp_platform.second_opinion.checked_histograms import BIN_SQL
from exp_platform.sums.numbers import MAPS
from exp_platform.sums.panels import panels_of

AGGREGATES = {
    "sum": "coalesce(sum(value) filter ({w}), 0.0)",
    "count": "count(*) filter ({w})::double",
    "any": "(count(*) filter ({w} and value > 0) > 0)::int::double",
    "max": "max(value) filter ({w})",
    "mean": "avg(value) filter ({w})",
}


def same_work(
    db: duckdb.DuckDBPyConnection,
    raw: str,
    metrics: Sequence[Metric],
    cutoff_us: int,
    *,
    distinct: bool,
    folder: Path | None = None,
) -> dict[str, int]:
    """Unit rows, statistics in both grouping sets, histograms, calendar and panel; rows of each."""
    only = "distinct" if distinct else ""
    db.execute(
        f"""create or replace temp table units as
        select user_id, arg_min(variant, assignment_ts) as variant_id, epoch_us(min(assignment_ts)) as a,
               min(assignment_ts)::date as cohort_date, hash('bucket', user_id) % 256 as bucket
        from (select {only} * from read_parquet('{raw}/assignments/*/*.parquet'))
        where epoch_us(assignment_ts) < {cutoff_us} group by user_id"""
    )
    db.execute(
        f"""create or replace temp view events as
        select user_id, metric_name, value, epoch_us(outcome_ts) as t
        from (select {only} * from read_parquet('{raw}/outcomes/*/*.parquet'))
        where epoch_us(outcome_ts) < {cutoff_us}"""
    )
    unit_rows(db, metrics, cutoff_us)
    if folder is not None:
        write_tables(db, metrics, folder)
        check_tables(db, folder)
    for i, metric in enumerate(metrics):
        statistics(db, i, metric)
    events_by_bin(db, metrics)
    calendar(db, metrics)
    panel(db, metrics)
    tables = ("unit_rows", "statistics", "bins", "calendar", "panel")
    return {name: db.execute(f"select count(*) from {name}").fetchall()[0][0] for name in tables}


def unit_rows(db: duckdb.DuckDBPyConnection, metrics: Sequence[Metric], cutoff_us: int) -> None:
    """One wide row per unit: y, x, p of every value and maturity of every metric."""
    columns = []
    for i, metric in enumerate(metrics):
        start, end = window(metric)
        columns.append(f"any_value(a + {end} <= {cutoff_us}) as mature{i}")
        for part, value in enumerate(unit_values(metric)):
            name = f"{i}" + (f"_{part}" if part else "")
            columns += [f"{sql} as {letter}{name}" for letter, sql in aggregates(value, start, end).items()]
    db.execute(
        f"""create or replace temp table unit_rows as
        select user_id, any_value(variant_id) as variant_id, any_value(cohort_date) as cohort_date,
               any_value(bucket) as bucket, {", ".join(columns)}
        from units left join events using (user_id) group by user_id"""
    )
    for i, metric in enumerate(metrics):
        if metric.cap is None:
            continue
        for part, _ in enumerate(unit_values(metric)):
            for letter in "yxp":
                name = f"{letter}{i}" + (f"_{part}" if part else "")
                cap = metric.cap.value
                if cap is None:
                    cap = db.execute(f"select quantile_cont({name}, {metric.cap.quantile}) from unit_rows").fetchall()[
                        0
                    ][0]
                if cap:
                    db.execute(f"update unit_rows set {name} = {cap} where {name} > {cap}")


def write_tables(db: duckdb.DuckDBPyConnection, metrics: Sequence[Metric], folder: Path) -> None:
    """The cohort and the unit rows in the shape that users read, as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    db.execute(
        f"""copy (select user_id, variant_id, make_timestamptz(a) as assignment_time_utc,
        make_timestamptz(a) as anchor_utc, cohort_date, true as included from units order by user_id)
        to '{folder}/cohort.parquet' (format parquet, compression zstd)"""
    )
    keys = [
        (f"{i}" + (f"_{k}" if k else ""), v.key) for i, m in enumerate(metrics) for k, v in enumerate(unit_values(m))
    ]
    maps = {name: ", ".join(f"'{key}': {letter}{n}" for n, key in keys) for name, letter in MAPS.items()}
    maps["mature"] = ", ".join(f"'{metric.name}': mature{i}" for i, metric in enumerate(metrics))
    columns = ", ".join(f"map {{{entries}}} as {name}" for name, entries in maps.items())
    db.execute(
        f"""copy (select user_id, variant_id, cohort_date, bucket, {columns} from unit_rows order by user_id)
        to '{folder}/unit_rows.parquet' (format parquet, compression zstd)"""
    )


def check_tables(db: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """One row per unit, nothing missing, and the units are those of the cohort."""
    cohort, units = f"'{folder}/cohort.parquet'", f"'{folder}/unit_rows.parquet'"
    for table in (cohort, units):
        missing = "count_if(variant_id is null or cohort_date is null)"
        sql = f"select count(*) - count(distinct user_id) + {missing} from {table}"
        assert db.execute(sql).fetchall() == [(0,)]
    sql = f"""select count(*) from {units} u full join {cohort} c using (user_id)
              where u.user_id is null or c.user_id is null or u.variant_id <> c.variant_id"""
    assert db.execute(sql).fetchall() == [(0,)]


def window(metric: Metric) -> tuple[int, int]:
    """Offsets of the attribution window from the assignment."""
    assert metric.window.end_hours != "experiment"
    return hours_us(metric.window.start_hours), hours_us(metric.window.end_hours)


def aggregates(value: UnitValue, start: int, end: int) -> dict[str, str]:
    """SQL of value, covariate and pre-period of one number."""
    pre = pre_period_days(value.metric) * DAY_US
    periods = {
        "y": f"t >= a + {start} and t < a + {end}",
        "x": f"t >= a - {pre} and t < a",
        "p": f"t >= a - {end - start} and t < a",
    }
    source = f"metric_name = '{value.source}'"
    return {letter: AGGREGATES[value.aggregation].format(w=f"{source} and {w}") for letter, w in periods.items()}


def statistics(db: duckdb.DuckDBPyConnection, i: int, metric: Metric) -> None:
    """Sums of products of one metric by cohort date and by bucket."""
    if not unit_values(metric):
        return
    family = families([metric])[0]
    names = {"y": f"y{i}", "x": f"x{i}", "p": f"p{i}", "d": f"y{i}_1", "w": f"x{i}_1", "q": f"p{i}_1"}
    sums = []
    for name, product in family.products.items():
        letters = [names[letter] for letter in product if letter in names]
        condition = f"mature{i}" if set(product) & set("gpq") else "true"
        sums.append(f"sum({' * '.join(letters)}) filter (y{i} is not null and {condition}) as {name}")
    group = f"'{metric.name}' as metric, variant_id, count(y{i}) as n, count(*) as units, {', '.join(sums)}"
    query = f"""
        select cohort_date, -1 as bucket, {group} from unit_rows group by all
        union all select null, bucket, {group} from unit_rows group by all"""
    table = "statistics" if family.name == "plain" else "statistics_ratio"
    exists = db.execute(f"select count(*) from duckdb_tables() where table_name = '{table}'").fetchall()[0][0]
    db.execute(f"insert into {table} {query}" if exists else f"create temp table {table} as {query}")
    if metric.type == "quantile":
        bins, counted = BIN_SQL.format(v=f"y{i}"), f"count(*) as n, min(y{i}) as low, max(y{i}) as high"
        db.execute(
            f"""create or replace temp table bins_{i} as
            select variant_id, cohort_date, -1 as bucket, {bins} as bin, {counted} from unit_rows group by all
            union all select variant_id, null, bucket, {bins} as bin, {counted} from unit_rows group by all"""
        )


def events_by_bin(db: duckdb.DuckDBPyConnection, metrics: Sequence[Metric]) -> None:
    """Histograms of events for event-level quantiles."""
    columns = "metric varchar, variant_id varchar, bucket int, bin int, n bigint, low double, high double"
    db.execute(f"create or replace temp table bins ({columns})")
    for metric in metrics:
        if unit_values(metric):
            continue
        start, end = window(metric)
        db.execute(
            f"""insert into bins
            select '{metric.name}', variant_id, bucket, {BIN_SQL.format(v="value")}, count(*), min(value), max(value)
            from events join units using (user_id)
            where metric_name = '{metric.sources[0]}' and t >= a + {start} and t < a + {end} group by all"""
        )


def calendar(db: duckdb.DuckDBPyConnection, metrics: Sequence[Metric]) -> None:
    """Sums of events by day inside the windows."""
    parts = [v for m in metrics if m.type != "quantile" for v in unit_values(m) if v.aggregation in ("sum", "count")]
    cells = sorted({(value.source, *window(value.metric)) for value in parts})
    where = " or ".join(f"(metric_name = '{s}' and t >= a + {b} and t < a + {e})" for s, b, e in cells)
    db.execute(
        f"""create or replace temp table calendar as
        select metric_name, variant_id, t // {DAY_US} as day, sum(value) as total, count(*) as n
        from events join units using (user_id) where {where} group by all"""
    )


def panel(db: duckdb.DuckDBPyConnection, metrics: Sequence[Metric]) -> None:
    """Cross products of daily values before assignment."""
    panels = tuple(dict.fromkeys(panels_of(metrics).values()))
    daily = {"sum": "sum(value)", "count": "count(*)::double", "any": "(max(value) > 0)::int::double"}
    days = " union all ".join(
        f"""select {k} as panel, user_id, variant_id, cohort_date, (t - a) // {DAY_US} as day,
        {daily[p.aggregation]} as v from before
        where metric_name = '{p.source}' and t >= a - {p.days * DAY_US} group by all"""
        for k, p in enumerate(panels)
    )
    db.execute(
        f"""create or replace temp table panel as
        with before as (select * from events join units using (user_id) where t < a),
        daily as materialized ({days})
        select i.panel, i.variant_id, i.cohort_date, i.day as day_i, j.day as day_j, sum(i.v * j.v) as sum_ij
        from daily i join daily j on i.panel = j.panel and i.user_id = j.user_id and i.day <= j.day group by all"""
    )
