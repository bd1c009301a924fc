"""Published numbers beside those of the second implementation, cell by cell; a cell is a metric in one arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exp_platform.config.models import Metric
from exp_platform.second_opinion.recompute import Group, Recomputed, Sums

Row = Mapping[str, Any]
ALL = "all"
TOLERANCE = 1e-12  # relative, for numbers that rounding touches
NO_BUCKET = -1
_COUNTS = ("n", "n_null", "n_mature", "did_n", "with_denominator")
_OF_COVARIATES = ("x", "xx", "xy", "dx")


@dataclass
class Cell:
    """The verdict on one metric in one arm."""

    metric_name: str
    variant_id: str
    compared: int = 0
    differ: int = 0
    not_checked: int = 0
    examples: list[str] = field(default_factory=list)

    def number(self, name: str, published: Any, again: Any, *, exact: bool, scale: float = 0.0) -> None:
        """Compare one number: to the last bit, or to 1e-12 of itself or of the scale of what it was made from."""
        self.compared += 1
        if not same(published, again, exact=exact, scale=scale):
            self.differ += 1
            if len(self.examples) < 3:
                self.examples.append(f"{name}: published {published!r}, computed again {again!r}")


def same(published: Any, again: Any, *, exact: bool, scale: float = 0.0) -> bool:
    """True for equal numbers; None is only equal to None."""
    if published is None or again is None:
        return published is again
    near = math.isclose(published, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
    return bool(published == again or (near and not exact))


def compare_sums(metric: Metric, arms: Iterable[str], rows: Iterable[Row], again: Recomputed) -> dict[str, Cell]:
    """The cells of one metric from its rows of gold.fct_experiment_metric_statistics.

    Rows by unit bucket, histograms and covariates of other metrics have no second version: they are counted as such.
    """
    cells = {arm: Cell(metric.name, arm) for arm in arms}
    open_groups = {group for group in again.sums if group[0] in cells}
    for row in rows:
        cell = cells.get(row["variant_id"])
        if cell is None:
            continue
        if row["unit_bucket"] != NO_BUCKET:
            cell.not_checked += sum(map(_numbers_in, row.values()))
            continue
        group: Group = (row["variant_id"], row["segment"], row["cohort_date"])
        open_groups.discard(group)
        _compare_row(cell, row, again.sums.get(group), again.inexact)
    for variant, segment, day in sorted(open_groups, key=str):
        cells[variant].number(f"row of {segment}, {day}", None, again.sums[variant, segment, day]["n"], exact=True)
    return cells


def _compare_row(cell: Cell, row: Row, wanted: Sums | None, inexact: frozenset[str]) -> None:
    where = f"{row['segment']}, {row['cohort_date']}"
    cell.not_checked += sum(_numbers_in(row[name]) for name in ("histogram", "histogram_lows", "histogram_highs"))
    if wanted is None:
        nobody = row["n"] + row["n_null"]  # a live arm without users has a row of zeros
        cell.number(f"users of {where}", nobody, 0, exact=True)
        return
    for name, value in wanted.items():
        if not isinstance(value, list):
            exact = name in _COUNTS or not inexact & set("yd")
            cell.number(f"{name} of {where}", row[name], value, exact=exact)
            continue
        exact = not inexact & ({"x"} if name in _OF_COVARIATES else set("yp"))
        published = list(row[name])
        own = _own(name, published, value)
        cell.not_checked += len(published) - len(own)
        for i, (one, other) in enumerate(zip(own, value, strict=False)):
            cell.number(f"{name}[{i}] of {where}", one, other, exact=exact)


def _own(name: str, published: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """The numbers of the metric's own covariates; those that the contract names come after them."""
    if name != "xx":
        return list(published[: len(wanted)])
    own, width = math.isqrt(len(wanted)), math.isqrt(len(published))
    return [published[i * width + j] for i in range(own) for j in range(own)]


def _numbers_in(value: Any) -> int:
    if isinstance(value, (list, tuple, dict)):
        return len(value)
    return int(isinstance(value, float))


def compare_effects(
    metric: Metric, control: str, cells: Mapping[str, Cell], rows: Iterable[Row], again: Recomputed
) -> None:
    """Add the users, means and differences of method `ab` in exp.analysis_results to the cells of their arms."""
    if metric.estimand == "quantile":
        return
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
