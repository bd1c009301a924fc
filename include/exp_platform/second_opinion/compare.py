"""Published numbers beside those of the second implementation, cell by cell; a cell is a metric in one arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import ALL, NO_BUCKET, TOLERANCE, Cell, Group
from exp_platform.second_opinion.recompute import Recomputed, Sums

Row = Mapping[str, Any]
_COUNTS = ("n", "n_null", "n_mature", "did_n", "with_denominator")
_OF_COVARIATES = ("x", "xx", "xy", "dx")


def compare_sums(metric: Metric, arms: Iterable[str], rows: Iterable[Row], again: Recomputed) -> dict[str, Cell]:
    """The cells of one metric from its rows of gold.fct_experiment_metric_statistics.

    Nobody else knows which users are in a bucket, so that the rows by bucket are added up first. What rounding took
    from each sum, and caps, have no second version: they are counted as such.
    """
    cells = {arm: Cell(metric.name, arm) for arm in arms}
    buckets: dict[str, list[Row]] = {arm: [] for arm in cells}
    open_groups = {group for group in again.sums if group[0] in cells}
    for row in rows:
        cell = cells.get(row["variant_id"])
        if cell is None:
            continue
        if row["unit_bucket"] != NO_BUCKET:
            buckets[cell.variant_id].append(row)
            continue
        group: Group = (row["variant_id"], row["segment"], row["cohort_date"])
        open_groups.discard(group)
        _compare_row(cell, row, again.sums.get(group), again)
    for variant, segment, day in sorted(open_groups, key=str):
        cells[variant].number(f"row of {segment}, {day}", None, again.sums[variant, segment, day]["n"], exact=True)
    for arm, cell in cells.items():
        _compare_buckets(cell, buckets[arm], again)
    return cells


def _compare_buckets(cell: Cell, rows: list[Row], again: Recomputed) -> None:
    """Compare an arm's rows by bucket, added up, with its users of all cohort dates: counts exactly, sums to 1e-12.

    The sums of an arm are each rounded by bucket here and by date there: they agree to 1e-12 of what was added up.
    """
    days = [sums for (arm, segment, _), sums in again.sums.items() if (arm, segment) == (cell.variant_id, ALL)]
    cell.not_checked += sum(map(_not_compared, rows))
    users = sum(row["n"] + row["n_null"] for row in rows)
    for name in days[0] if days else ("n",):
        wanted = [_list(day[name]) for day in days]
        published = [_list(row[name]) for row in rows]
        if len({len(one) for one in (*wanted, *published)}) > 1:
            cell.number(f"length of {name} of all buckets", None, len(wanted[0]), exact=True)
            continue
        for i, numbers in enumerate(zip(*published, strict=True)):
            others = [one[i] for one in wanted]
            size = max(math.fsum(map(abs, part)) for part in (numbers, others))
            scale = size + again.slack(_factors(name), users) / TOLERANCE
            where, exact = f"{name}[{i}] of all buckets", name in _COUNTS
            cell.number(where, math.fsum(numbers), math.fsum(others), exact=exact, scale=scale)
    if days and not rows:
        cell.number("n of all buckets", None, math.fsum(_float(day["n"]) for day in days), exact=True)


def _compare_row(cell: Cell, row: Row, wanted: Sums | None, again: Recomputed) -> None:
    inexact = again.inexact
    where = f"{row['segment']}, {row['cohort_date']}"
    cell.not_checked += _not_compared(row)
    if wanted is None:
        nobody = row["n"] + row["n_null"]  # a live arm without users has a row of zeros
        cell.number(f"users of {where}", nobody, 0, exact=True)
        return
    for name, value in wanted.items():
        if not isinstance(value, list):
            exact = name in _COUNTS or not inexact & set("yd")
            cell.number(f"{name} of {where}", row[name], value, exact=exact, scale=_scale(again, name, row))
            continue
        exact = not inexact & ({"x"} if name in _OF_COVARIATES else set("yp"))
        published = list(row[name])
        if len(published) != len(value):
            cell.number(f"length of {name} of {where}", len(published), len(value), exact=True)
        for i, (one, other) in enumerate(zip(published, value, strict=False)):
            cell.number(f"{name}[{i}] of {where}", one, other, exact=exact, scale=_scale(again, name, row))


def _scale(again: Recomputed, name: str, row: Row) -> float:
    """The size of which a difference of 1e-12 is allowed beside the relative one."""
    return again.slack(_factors(name), row["n"] + row["n_null"]) / TOLERANCE


def _factors(name: str) -> int:
    """How many numbers are multiplied in a sum."""
    return len(name.removeprefix("did_"))


def _not_compared(row: Row) -> int:
    """Numbers of a row of which there is no second version: what rounding took from each sum, and caps."""
    return len(row.get("rest") or ()) + sum(row.get(name) is not None for name in ("cap", "cap_denominator"))


def _list(value: Any) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def compare_effects(
    metric: Metric, control: str, cells: Mapping[str, Cell], rows: Iterable[Row], again: Recomputed
) -> None:
    """Add the users, means and differences of method `ab` in exp.analysis_results to the cells of their arms."""
    levels = _levels(again, ratio=metric.is_ratio)
    for row in rows:
        cell = cells.get(row["variant_id"])
        if cell is None or row["metric_name"] != metric.name or row["method"] != "ab" or row["effect_abs"] is None:
            continue
        segment = row["segment"]
        (n_c, mean_c), (n_t, mean_t) = (levels.get((arm, segment), (0, None)) for arm in (control, row["variant_id"]))
        for name, value in (("control_n", n_c), ("treatment_n", n_t)):
            cell.number(f"{name} of {segment}", row[name], value, exact=True)
        for name, mean in (("control_mean", mean_c), ("treatment_mean", mean_t)):
            cell.number(f"{name} of {segment}", row[name], mean, exact=False)
        if mean_c is not None and mean_t is not None:
            # A small difference of large means keeps only the digits that the means have.
            scale = max(abs(mean_c), abs(mean_t))
            cell.number(f"effect_abs of {segment}", row["effect_abs"], mean_t - mean_c, exact=False, scale=scale)


def users_of(again: Recomputed) -> dict[tuple[str, str], int]:
    """Users with a value of each arm and segment, over all cohort dates."""
    return {key: n for key, (n, _) in _levels(again, ratio=False).items()}


def _levels(again: Recomputed, *, ratio: bool) -> dict[tuple[str, str], tuple[int, float | None]]:
    """Users and level (mean, or ratio of sums) of each arm and segment, over all cohort dates."""
    parts: dict[tuple[str, str], list[Sums]] = {}
    for (variant, segment, _), sums in again.sums.items():
        parts.setdefault((variant, segment), []).append(sums)
    found = {}
    for key, days in parts.items():
        n = int(math.fsum(_float(day["n"]) for day in days))
        total = math.fsum(_float(day["y"]) for day in days)
        base = math.fsum(_float(day["d"]) for day in days) if ratio else float(n)
        found[key] = n, total / base if base else None
    return found


def _float(value: float | list[float]) -> float:
    assert not isinstance(value, list)
    return value
