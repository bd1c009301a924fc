"""Histograms of quantiles once more: bins of users' values or of events by DuckDB, and the level that lies in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import NO_BUCKET, Cell, Group
from exp_platform.second_opinion.spine import Oracle, rows

Row = Mapping[str, Any]
Bin = tuple[int, float, float]  # number of values, the smallest and the largest of them
Bins = dict[int, Bin]
# The rule of a bin, written again: 256 to a doubling, 0 apart; 1e-6 keeps powers of two clear of an edge.
BIN_SQL = "CASE WHEN {v} = 0 THEN 0 ELSE CAST(sign({v}) * (floor(log2(abs({v})) * 256 + 1e-6) + 300000) AS INT) END"


def binned(oracle: Oracle, metric: Metric) -> list[dict[str, Any]]:
    """Values per bin in both grouping sets, as the statistics have them, with the smallest and the largest value."""
    if metric.of_events:
        values = f"select *, true as has, value as y from ({oracle.events(metric)})"
    else:
        values = oracle.analysed(metric)
    return rows(
        oracle.db,
        f"""
        with base as materialized ({values}),
        grouped as (
            select variant_id, 'all' as segment, cohort_date as cd, -1 as b, y, has from base
            union all select variant_id, 'all', null, unit_bucket, y, has from base
            union all select variant_id, segment, cohort_date, -1, y, has from base join dims using (user_id))
        select variant_id, segment, cd as cohort_date, b as unit_bucket, {BIN_SQL.format(v="y")} as bin,
               count(*) as n, min(y) as low, max(y) as high
        from grouped where has group by 1, 2, 3, 4, 5""",
    )


def histograms(oracle: Oracle, metric: Metric) -> dict[Group, Bins]:
    """The bins of each arm, segment and cohort date; those of an arm's buckets together have no date."""
    found: dict[Group, Bins] = {}
    for row in binned(oracle, metric):
        add(found.setdefault((row["variant_id"], row["segment"], row["cohort_date"]), {}), _bin_of(row))
    return found


def add(bins: Bins, more: tuple[int, Bin]) -> None:
    """Add the values of a bin to the bins of a group."""
    code, (n, low, high) = more
    if code in bins:
        known = bins[code]
        n, low, high = n + known[0], min(low, known[1]), max(high, known[2])
    bins[code] = n, low, high


def published_bins(row: Row) -> Iterator[tuple[int, Bin]]:
    """The bins of a row of the statistics, whose extremes stand in the order of the bins."""
    ordered = sorted((row["histogram"] or {}).items())
    for (code, n), low, high in zip(ordered, row["histogram_lows"] or (), row["histogram_highs"] or (), strict=True):
        yield code, (n, low, high)


def compare_histograms(
    cells: Mapping[str, Cell], published: Iterable[Row], again: Mapping[Group, Bins], *, exact: bool, scale: float = 0.0
) -> None:
    """Compare the bins of each group; those of unit buckets are added up first, for nobody else knows the buckets.

    Counts must be equal. So must the extremes of events be; those of users' values are compared to 1e-12 where
    rounding touches these values.
    """
    found: dict[Group, Bins] = {group: {} for group in again if group[0] in cells}
    for row in published:
        if row["variant_id"] in cells:
            day = row["cohort_date"] if row["unit_bucket"] == NO_BUCKET else None
            for one in published_bins(row):
                add(found.setdefault((row["variant_id"], row["segment"], day), {}), one)
    for group in sorted(found, key=str):
        mine, wanted = found[group], again.get(group, {})
        for code in sorted(mine.keys() | wanted.keys()):
            n, low, high = mine.get(code, (0, None, None))
            n_again, low_again, high_again = wanted.get(code, (0, None, None))
            where = f"{code} of {_named(group)}"
            cell = cells[group[0]]
            cell.number(f"values in bin {where}", n, n_again, exact=True)
            cell.number(f"smallest value of bin {where}", low, low_again, exact=exact, scale=scale)
            cell.number(f"largest value of bin {where}", high, high_again, exact=exact, scale=scale)


def compare_levels(
    metric: Metric,
    control: str,
    cells: Mapping[str, Cell],
    published: Iterable[Row],
    again: Mapping[Group, Bins],
    users: Mapping[tuple[str, str], int],
) -> None:
    """Look whether each published quantile lies in the bin that holds the exact one, and compare users and difference.

    A bin is 0.27% wide; where it holds one value alone, the quantile must be that value.
    """
    whole = _whole(again)
    for row in published:
        cell = cells.get(row["variant_id"])
        if cell is None or row["metric_name"] != metric.name or row["method"] != "ab" or row["effect_abs"] is None:
            continue
        segment = row["segment"]
        for side, arm in (("control", control), ("treatment", row["variant_id"])):
            cell.number(f"{side}_n of {segment}", row[f"{side}_n"], users.get((arm, segment), 0), exact=True)
            ends = quantile_ends(whole.get((arm, segment), {}), float(metric.quantile or 0.5))
            cell.between(f"{side}_mean of {segment}", row[f"{side}_mean"], ends)
        levels = row["control_mean"], row["treatment_mean"]
        if None not in levels:
            scale = max(map(abs, levels))
            cell.number(f"effect_abs of {segment}", row["effect_abs"], levels[1] - levels[0], exact=False, scale=scale)


def quantile_ends(bins: Bins, q: float) -> tuple[float, float] | None:
    """The smallest and the largest value of the bin that holds the q-quantile; None without any value.

    >>> quantile_ends({300_000: (3, 1.0, 1.0), 300_256: (1, 2.0, 2.001)}, 0.5)
    (1.0, 1.0)
    """
    total = sum(n for n, _, _ in bins.values())
    if not total:
        return None
    _, low, high = _bin_at(bins, max(math.ceil(q * total), 1))
    return low, high


def _bin_at(bins: Bins, rank: int) -> Bin:
    """The bin of the value that has so many values up to it, itself counted."""
    below = 0
    for code in sorted(bins):
        below += bins[code][0]
        if below >= rank:
            break
    return bins[code]


def _whole(again: Mapping[Group, Bins]) -> dict[tuple[str, str], Bins]:
    """The bins of each arm and segment over all cohort dates."""
    found: dict[tuple[str, str], Bins] = {}
    for (variant, segment, day), bins in again.items():
        if day is not None:
            for one in bins.items():
                add(found.setdefault((variant, segment), {}), one)
    return found


def _bin_of(row: Row) -> tuple[int, Bin]:
    return row["bin"], (row["n"], row["low"], row["high"])


def _named(group: Group) -> str:
    _, segment, day = group
    return f"{segment}, {_day(day)}"


def _day(day: date | None) -> str:
    return "all buckets" if day is None else str(day)
