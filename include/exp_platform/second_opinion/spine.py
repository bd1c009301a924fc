"""J4 and J5 once more in DuckDB SQL, from the written semantics alone; the Spark pipeline is compared with it.

Tables expected in the connection: `cohort` (gold.fct_experiment_cohort with epoch microseconds `a` of assignment and
`c` of the anchor), `dims` (user_id, segment), `outcomes` (user_id, metric_name, value, t in epoch microseconds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType

from exp_platform.config.models import Metric

HOUR = 3_600_000_000
DAY = 24 * HOUR
AGGREGATES = {
    "sum": "coalesce(fsum(value) filter ({w}), 0.0)",
    "count": "(count(*) filter ({w}))::double",
    "any": "(count(*) filter ({w} and value > 0) > 0)::int::double",
    "max": "max(value) filter ({w})",
    "mean": "fsum(value) filter ({w}) / nullif(count(*) filter ({w}), 0)",
    "last": "(max({{'t': t, 'v': value}}) filter ({w})).v",
}


@dataclass(frozen=True)
class Oracle:
    """One experiment's rules."""

    db: duckdb.DuckDBPyConnection
    end: int
    cutoff: int
    lost: tuple[int, ...] = ()  # first instants of UTC days whose outcomes can't be used; `outcomes` has none of them
    exact: bool = False  # True: a user's events are added up by math.fsum instead of fsum, whose last bits may differ

    def __post_init__(self) -> None:
        if self.exact:
            how = PythonUDFType.ARROW
            self.db.create_function("exact_sum", _exact_sums, ["DOUBLE[]"], "DOUBLE", type=how)

    def untouched(self, start: str, end: str) -> str:
        """SQL: the window holds nothing of a lost day, or is empty."""
        holds = [f"({start} < {end} and {start} < {day + DAY} and {end} > {day})" for day in self.lost]
        return f"not ({' or '.join(holds)})" if holds else "true"

    def window(self, metric: Metric) -> tuple[str, str]:
        """SQL of the attribution window's two ends."""
        start = f"(c + {round(metric.window.start_hours * HOUR)})"
        if metric.window.end_hours == "experiment":
            return start, str(self.end)
        end = f"(c + {round(metric.window.end_hours * HOUR)})"
        return start, f"least({end}, {self.end})" if metric.window.truncate_at_end else end

    def parts(self, metric: Metric) -> list[tuple[str, str, str]]:
        """Key, source and aggregation of each number that the metric is made of."""
        if metric.type == "ratio":
            assert metric.numerator and metric.denominator
            return [
                (f"{metric.name}.numerator", metric.numerator.source, metric.numerator.aggregation),
                (f"{metric.name}.denominator", metric.denominator.source, metric.denominator.aggregation),
            ]
        if metric.type == "quantile" and metric.level == "event":
            return []
        usual = {"binary": "any", "retention": "any", "count": "count", "sum": "sum", "mean": "mean", "quantile": "sum"}
        return [(metric.name, metric.source or metric.name, metric.aggregation or usual[metric.type])]

    def aggregate(self, aggregation: str) -> str:
        """SQL of an aggregation with a place for its condition."""
        sql = AGGREGATES[aggregation]
        return sql.replace("fsum(value) filter ({w})", "exact_sum(list(value) filter ({w}))") if self.exact else sql

    def units(self, metric: Metric, source: str, aggregation: str) -> str:
        """SQL: user_id, y, x, p, mature, opened of every included unit for one number."""
        start, end = self.window(metric)
        aggregate, before = self.aggregate(aggregation), f"(a - greatest({end} - {start}, 0))"
        windows = {
            "y": f"t >= {start} and t < {end}",
            "x": f"t >= a - {(metric.pre_period_days or 0) * DAY} and t < a",
            "p": f"t >= {before} and t < a",
        }
        columns = ", ".join(f"{aggregate.format(w='t is not null and ' + w)} as {k}_all" for k, w in windows.items())
        return f"""
            select user_id, any_value(variant_id) as variant_id, any_value(cohort_date) as cohort_date,
                   any_value(unit_bucket) as unit_bucket, any_value({end} <= {self.cutoff}) as mature,
                   any_value({start} < {self.cutoff}) as opened, {columns},
                   any_value({self.untouched(start, end)}) as clear,
                   any_value({self.untouched(before, "a")}) as clear_p,
                   case when opened and clear then y_all end as y, x_all as x, case when clear_p then p_all end as p
            from cohort left join (select * from outcomes where metric_name = {text(source)} and t < {self.cutoff}) o
                 using (user_id)
            where included group by user_id"""

    def cap(self, metric: Metric, column: str, units: str) -> float | None:
        """The cap in force for one column."""
        if metric.cap is None:
            return None
        cap = metric.cap.value
        if cap is None:
            cap = rows(self.db, f"select quantile_cont({column}, {metric.cap.quantile}) as q from ({units})")[0]["q"]
        return cap or None

    def capped(self, metric: Metric, source: str, aggregation: str) -> str:
        """SQL: the same with caps applied."""
        units = self.units(metric, source, aggregation)
        caps = {column: self.cap(metric, column, units) for column in "yxp"}
        chosen = ", ".join(
            f"{column} as {column}" if cap is None else f"least({column}, {cap!r}) as {column}"
            for column, cap in caps.items()
        )
        # least() skips nulls in DuckDB: keep them null.
        kept = ", ".join(f"case when u.{c} is not null then k.{c} end as {c}" for c in "yxp")
        return f"""
            with u as materialized ({units}), k as (select user_id, {chosen} from u)
            select u.user_id, variant_id, cohort_date, unit_bucket, mature, {kept} from u join k using (user_id)"""

    def complete(self, metric: Metric) -> bool:
        """True when only units count whose window has closed."""
        usual = metric.type == "retention" or metric.window.start_hours > 0
        return metric.maturity == "complete" or (metric.maturity is None and usual)

    def analysed(self, metric: Metric) -> str:
        """SQL: every included unit with y, x, p (and d, w, q of a ratio), `has` and `did`."""
        complete = self.complete(metric)
        frames = [self.capped(metric, source, aggregation) for _, source, aggregation in self.parts(metric)]
        second = (
            f"join (select user_id, y as d, x as w, p as q from ({frames[1]})) using (user_id)"
            if len(frames) == 2
            else "cross join (select 0.0 as d, 0.0 as w, 0.0 as q)"
        )
        return f"""
            select *, y is not null {"and mature" if complete else ""} as has,
                   has and mature and p is not null as did
            from ({frames[0]}) {second}"""

    def statistics(self, metric: Metric) -> list[dict[str, Any]]:
        """Sums by variant × segment × cohort date × bucket in both grouping sets."""
        return rows(
            self.db,
            f"""
            with base as materialized ({self.analysed(metric)}),
            filled as (select *, coalesce(x, (select avg(x) from base where has)) as xf from base),
            grouped as (
                select 'all' as segment, cohort_date as cd, -1 as b, * from filled
                union all select 'all', null, unit_bucket, * from filled
                union all select segment, cohort_date, -1, filled.* from filled join dims using (user_id))
            select variant_id, segment, cd as cohort_date, b as unit_bucket, count(*) filter (has and d <> 0) as n_d,
                count(*) filter (has) as n, count(*) filter (not has) as n_null, count(*) filter (mature) as n_mature,
                {
                _sums(
                    "has",
                    {
                        "y": "y",
                        "yy": "y*y",
                        "yyy": "y*y*y",
                        "x": "xf",
                        "xx": "xf*xf",
                        "xy": "xf*y",
                        "w": "w",
                        "xw": "xf*w",
                        "ww": "w*w",
                        "wy": "w*y",
                        "d": "d",
                        "dd": "d*d",
                        "yd": "y*d",
                        "xd": "xf*d",
                        "wd": "w*d",
                    },
                )
            },
                count(*) filter (did) as did_n,
                {_sums("did", {f"v_{a}{b}": f"{a}*{b}" for a in "ydpq" for b in "ydpq"})},
                {_sums("did", {f"v_{a}": a for a in "ydpq"})}
            from grouped group by 1, 2, 3, 4""",
        )

    def calendar(self, metric: Metric) -> list[dict[str, Any]]:
        """Units whose window holds some of a UTC day, and the sums of their events on it, by variant and segment."""
        start, end = self.window(metric)
        totals = {"sum": "fsum(value) filter ({w})", "count": "(count(*) filter ({w}))::double"}
        numbers = self.parts(metric)
        happened = ", ".join(
            totals[aggregation].format(w=f"metric_name = {text(source)}") + f" as v{i}"
            for i, (_, source, aggregation) in enumerate(numbers)
        )
        shown = ", ".join(f"coalesce(v{i}, 0.0) as v{i}" for i in range(len(numbers)))
        return rows(
            self.db,
            f"""
            with segmented as (
                select 'all' as segment, cohort.* from cohort where included
                union all select segment, cohort.* from cohort join dims using (user_id) where included),
            open as (
                select variant_id, segment, unnest(range({start} // {DAY},
                       (least({end}, {self.cutoff}) - 1) // {DAY} + 1)) as day
                from segmented where least({end}, {self.cutoff}) - 1 >= {start} and {self.untouched(start, end)}),
            at_risk as (select variant_id, segment, day, count(*) as n from open group by all),
            happened as (
                select variant_id, segment, t // {DAY} as day, {happened}
                from outcomes join segmented using (user_id)
                where t < {self.cutoff} and t >= {start} and t < {end} and {self.untouched(start, end)} group by all)
            select variant_id, segment, date '1970-01-01' + day::int as date, n, {shown}
            from at_risk left join happened using (variant_id, segment, day)""",
        )

    def events(self, metric: Metric) -> str:
        """SQL: every event that counts in an event-level quantile, with its user's number, groups and capped value."""
        start, end = self.window(metric)
        cap = metric.cap.value if metric.cap is not None else None
        complete = f"and {end} <= {self.cutoff}" if self.complete(metric) else ""
        return f"""
            select user_id, variant_id, cohort_date, unit_bucket,
                   {"value" if cap is None else f"least(value, {cap!r})"} as value
            from outcomes join cohort using (user_id)
            where included and metric_name = {text(metric.source or metric.name)} and t < {self.cutoff}
                and t >= {start} and t < {end} and {self.untouched(start, end)} {complete}"""

    def counted(self, metric: Metric) -> str:
        """SQL: every included unit of an event-level quantile; `has` is true with an event that counts."""
        _, end = self.window(metric)
        return f"""
            select user_id, variant_id, cohort_date, {end} <= {self.cutoff} as mature,
                   user_id in (select user_id from ({self.events(metric)})) as has
            from cohort where included"""


def text(value: str) -> str:
    """A text as SQL: a name may hold a quotation mark."""
    return "'" + value.replace("'", "''") + "'"


def _exact_sums(lists: pa.ChunkedArray) -> pa.Array:
    """The sum of each list of doubles, rounded once."""
    return pa.array([None if one is None else math.fsum(one) for one in lists.to_pylist()], pa.float64())


def _sums(which: str, columns: dict[str, str]) -> str:
    return ", ".join(f"coalesce(fsum({sql}) filter ({which}), 0.0) as {name}" for name, sql in columns.items())


def rows(db: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """Rows of a query as dictionaries."""
    result = db.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
