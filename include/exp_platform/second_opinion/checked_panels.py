"""Panels once more: daily values before the assignment by DuckDB, their sums and their products, and the comparison.

Only days on which something happened are joined with each other: all others are 0, and so are their products. A panel
of 14 days has 105 pairs of days for a user with an event on each of them, and one for a user with an event on one day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import TOLERANCE, Cell
from exp_platform.second_opinion.spine import DAY, Oracle, rows, text

Row = Mapping[str, Any]
Total = tuple[float, float]  # a sum, and the sum of the sizes of what was added
Arm = tuple[str, date]  # arm, cohort date
DAILY = {"sum": "fsum(value)", "count": "count(*)::double", "any": "(max(value) > 0)::int::double"}
LOST = 2.0**-60  # of the largest product, for each user: the pipeline's sums keep no smaller bits
_NOTHING = (0.0, 0.0)


@dataclass(frozen=True)
class Panel:
    """The totals of one metric's daily values by arm and cohort date; a day or a pair of days without any is 0."""

    days: int
    units: dict[Arm, int]
    sums: dict[tuple[str, date, int], Total]
    products: dict[tuple[str, date, int, int], Total]
    cluster_units: dict[Arm, dict[str, int]]
    cluster_sums: dict[tuple[str, date, int], dict[str, float]]
    largest: float  # the largest size of a daily value

    def pairs(self) -> set[tuple[Any, ...]]:
        """The key of every row that a complete panel has."""
        days = range(-self.days, 0)
        return {(*arm, i, j) for arm in self.units for i in days for j in days if i <= j}

    def slack(self, factors: int, users: int, total: Total) -> float:
        """The scale of which a sum of products of so many factors may differ by 1e-12."""
        return total[1] + users * self.largest**factors * LOST / TOLERANCE


def has_panel(oracle: Oracle, metric: Metric) -> bool:
    """True for a metric of one number that adds up over days, or can happen on one, and that looks at days before."""
    parts = oracle.parts(metric)
    return len(parts) == 1 and parts[0][2] in DAILY and (metric.pre_period_days or 0) > 0


def make_panel(oracle: Oracle, metric: Metric, cluster: str | None = None) -> Panel:
    """The panel of a metric; with a dimension as cluster also the users and sums of each of its values."""
    db, days = oracle.db, metric.pre_period_days or 0
    db.execute(f"create or replace temp table happened as {_daily_values(oracle, metric)}")
    units = "select variant_id, cohort_date, count(*) as n from cohort where included group by all"
    sums = "select variant_id, cohort_date, day, fsum(v) as total, fsum(abs(v)) as size from happened group by all"
    products = """
        select i.variant_id, i.cohort_date, i.day as day_i, j.day as day_j, fsum(i.v * j.v) as total,
               fsum(abs(i.v * j.v)) as size
        from happened i join happened j on i.user_number = j.user_number and i.day <= j.day group by all"""
    largest = rows(db, "select coalesce(max(abs(v)), 0.0) as v from happened")[0]["v"]
    cluster_units: dict[Arm, dict[str, int]] = {}
    cluster_sums: dict[tuple[str, date, int], dict[str, float]] = {}
    if cluster is not None:
        _clusters(oracle, cluster, cluster_units, cluster_sums)
    return Panel(
        days,
        {(row["variant_id"], row["cohort_date"]): row["n"] for row in rows(db, units)},
        {(r["variant_id"], r["cohort_date"], r["day"]): (r["total"], r["size"]) for r in rows(db, sums)},
        {
            (r["variant_id"], r["cohort_date"], r["day_i"], r["day_j"]): (r["total"], r["size"])
            for r in rows(db, products)
        },
        cluster_units,
        cluster_sums,
        largest,
    )


def _daily_values(oracle: Oracle, metric: Metric) -> str:
    """SQL: one row for each included user and day before assignment with an event."""
    (_, source, aggregation) = oracle.parts(metric)[0]
    days = metric.pre_period_days or 0
    return f"""
        select cohort.rowid as user_number, any_value(user_id) as user_id, any_value(variant_id) as variant_id,
               any_value(cohort_date) as cohort_date, floor((t - a) / {DAY}.0)::int as day, {DAILY[aggregation]} as v
        from outcomes join cohort using (user_id)
        where included and metric_name = {text(source)} and t < {oracle.cutoff} and t < a and t >= a - {days * DAY}
        group by cohort.rowid, floor((t - a) / {DAY}.0)::int"""


def _clusters(
    oracle: Oracle,
    cluster: str,
    units: dict[Arm, dict[str, int]],
    sums: dict[tuple[str, date, int], dict[str, float]],
) -> None:
    begins = text(f"{cluster}=")
    first = len(cluster) + 2
    member = f"join (select user_id, segment from dims where starts_with(segment, {begins})) using (user_id)"
    value = f"substr(segment, {first}) as cluster"
    counted = f"select variant_id, cohort_date, {value}, count(*) as n from cohort {member} where included group by all"
    for row in rows(oracle.db, counted):
        units.setdefault((row["variant_id"], row["cohort_date"]), {})[row["cluster"]] = row["n"]
    added = f"select variant_id, cohort_date, day, {value}, fsum(v) as total from happened {member} group by all"
    for row in rows(oracle.db, added):
        sums.setdefault((row["variant_id"], row["cohort_date"], row["day"]), {})[row["cluster"]] = row["total"]


def compare_panel(cells: Mapping[str, Cell], published: Iterable[Row], again: Panel) -> None:
    """Compare every row of a metric's panel: users exactly, sums and products to 1e-12 of what was added."""
    missing = {key for key in again.pairs() if key[0] in cells}
    for row in published:
        cell = cells.get(row["variant_id"])
        if cell is None:
            continue
        arm = row["variant_id"], row["cohort_date"]
        i, j, users = row["day_i"], row["day_j"], again.units.get(arm, 0)
        missing.discard((*arm, i, j))
        where = f"days {i} and {j}, {row['cohort_date']}"
        cell.number(f"n of {where}", row["n"], users, exact=True)
        for name, day in (("sum_i", i), ("sum_j", j)):
            total = again.sums.get((*arm, day), _NOTHING)
            cell.number(f"{name} of {where}", row[name], total[0], exact=False, scale=again.slack(1, users, total))
        total = again.products.get((*arm, i, j), _NOTHING)
        cell.number(f"sum_ij of {where}", row["sum_ij"], total[0], exact=False, scale=again.slack(2, users, total))
        _compare_clusters(cell, row, again, where)
    for variant, day, i, j in sorted(missing, key=str):
        cells[variant].number(f"n of days {i} and {j}, {day}", None, again.units[variant, day], exact=True)


def _compare_clusters(cell: Cell, row: Row, again: Panel, where: str) -> None:
    """Rows of a day with itself hold every cluster of their arm and date; no other row holds any."""
    arm, alone = (row["variant_id"], row["cohort_date"]), row["day_i"] == row["day_j"]
    units = again.cluster_units.get(arm, {}) if alone else {}
    sums = again.cluster_sums.get((*arm, row["day_i"]), {}) if alone else {}
    mine, totals = row["cluster_units"] or {}, row["cluster_sums"] or {}
    for name in sorted(units.keys() | mine.keys() | totals.keys()):
        cell.number(f"users of cluster {name} of {where}", mine.get(name), units.get(name), exact=True)
        total, size = again.sums.get((*arm, row["day_i"]), _NOTHING)
        wanted = sums.get(name, 0.0) if name in units else None
        scale = again.slack(1, again.units.get(arm, 0), (total, size))
        cell.number(f"sum of cluster {name} of {where}", totals.get(name), wanted, exact=False, scale=scale)
