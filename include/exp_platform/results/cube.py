"""The table gold.fct_experiment_metric_statistics as arrays: one cube of sums for each shape of metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.errors import ContractViolation
from exp_platform.stats.sufficient import SufficientStatistics

ALL = "all"
COHORT_SET = -1  # unit_bucket of the grouping set by segment and cohort date
TABLE = "gold.fct_experiment_metric_statistics"
_SCALARS = ("n", "n_null", "y", "yy", "yyy", "d", "dd", "yd", "did_n")
RESTS = ("y", "yy", "yyy", "d", "dd", "yd")  # numbers with a rest, then the lists
_LISTS = {"x": "k", "xx": "kk", "xy": "k", "dx": "k", "did_v": "m", "did_vv": "mm"}


@dataclass(frozen=True, eq=False)
class Axes:
    """Labels of a cube's leading axes but the metric: arm (control first), cohort date, segment (`all` first)."""

    arms: tuple[str, ...]
    dates: tuple[date, ...]
    segments: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cube:
    """Statistics of metrics of one shape; `stats` and `n_mature` have the lead (arm, cohort date, metric, segment)."""

    metrics: tuple[Metric, ...]
    axes: Axes
    stats: SufficientStatistics
    n_mature: NDArray[np.float64]
    with_denominator: NDArray[np.float64] | None = None  # units of a ratio; None where older code did not count them
    covariates: tuple[str, ...] = ()  # names of the covariates of `stats`, as the statistics have them
    rest: SufficientStatistics | None = None  # what rounding took from `stats`; None where older code did not keep it

    @property
    def kind(self) -> str:
        """mean, binary, ratio or quantile."""
        return kind_of(self.metrics[0])

    @cached_property
    def overall(self) -> SufficientStatistics:
        """Merged over cohort dates, each total rounded once: lead (arm, metric, segment)."""
        return self.stats.sum(axis=1) if self.rest is None else self.stats.sum_with(self.rest, axis=1)

    @property
    def carriers(self) -> NDArray[np.float64] | None:
        """Units with a denominator, merged over cohort dates: lead (arm, metric, segment)."""
        return None if self.with_denominator is None else self.with_denominator.sum(axis=1)


def kind_of(metric: Metric) -> str:
    """How a metric is estimated; binary differs from mean only in how much data it needs."""
    return metric.estimand


def read_axes(table: pa.Table, arms: Sequence[str]) -> Axes:
    """Labels that are there: every cohort date and every segment, sorted, `all` first."""
    cohorts = cohort_set(table)
    dates = tuple(sorted(d for d in pc.unique(cohorts["cohort_date"]).to_pylist() if d is not None))
    segments = {s for s in pc.unique(cohorts["segment"]).to_pylist() if s != ALL}
    return Axes(tuple(arms), dates, (ALL, *sorted(segments)))


def cohort_set(table: pa.Table) -> pa.Table:
    """The grouping set (segment, cohort date); never summed with the buckets."""
    return table.filter(pc.equal(table["unit_bucket"], COHORT_SET))


def bucket_set(table: pa.Table) -> pa.Table:
    """The grouping set (segment `all`, unit bucket)."""
    return table.filter(pc.greater(table["unit_bucket"], COHORT_SET))


def cubes(table: pa.Table, metrics: Sequence[Metric], axes: Axes) -> list[Cube]:
    """One cube for each kind of metric and its covariates; a metric without rows has zeros everywhere."""
    cohorts = cohort_set(table)
    shapes, named = _shapes(cohorts, metrics), _covariates(cohorts)
    groups: dict[tuple[str, int, int, tuple[str, ...]], list[Metric]] = {}
    for metric in metrics:
        key = (kind_of(metric), *shapes[metric.name], named.get(metric.name, ()))
        groups.setdefault(key, []).append(metric)
    return [_cube(cohorts, tuple(group), axes, key) for key, group in sorted(groups.items())]


def _covariates(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Names of each metric's covariates, which all its rows share."""
    names = table["metric_name"].combine_chunks().dictionary_encode()
    first = np.unique(names.indices.to_numpy(), return_index=True)[1]
    rows = table.select(["metric_name", "covariates"]).take(pa.array(first)).to_pylist()
    return {row["metric_name"]: tuple(row["covariates"] or ()) for row in rows}


def _shapes(table: pa.Table, metrics: Sequence[Metric]) -> dict[str, tuple[int, int]]:
    """Number of covariates and of difference-in-differences variables of each metric, which all its rows share."""
    counted = pa.table(
        {
            "metric_name": table["metric_name"],
            "k": pc.list_value_length(table["x"]),
            "m": pc.list_value_length(table["did_v"]),
        }
    )
    found = counted.group_by("metric_name").aggregate([("k", "min_max"), ("m", "min_max")]).to_pylist()
    shapes = {metric.name: (0, 0) for metric in metrics}
    for row in found:
        k, m = row["k_min_max"], row["m_min_max"]
        if k["min"] != k["max"] or m["min"] != m["max"]:
            raise ContractViolation(
                f"{TABLE}: metric '{row['metric_name']}' has rows with {k['min']} and with {k['max']} covariates; "
                "all rows of a metric must have the same: rerun aggregate_metrics with --full-refresh"
            )
        shapes[row["metric_name"]] = (k["max"], m["max"])
    return shapes


def _cube(
    cohorts: pa.Table, metrics: tuple[Metric, ...], axes: Axes, key: tuple[str, int, int, tuple[str, ...]]
) -> Cube:
    kind, k, m, named = key
    index = [
        positions(cohorts["variant_id"], axes.arms),
        positions(cohorts["cohort_date"], axes.dates),
        positions(cohorts["metric_name"], [metric.name for metric in metrics]),
        positions(cohorts["segment"], axes.segments),
    ]
    keep = np.all([i >= 0 for i in index], axis=0)
    rows = cohorts.filter(pa.array(keep))
    where = tuple(i[keep] for i in index)
    lead = (len(axes.arms), len(axes.dates), len(metrics), len(axes.segments))
    stats = scatter(rows, where, lead, k, m)
    mature = np.zeros(lead)
    mature[where] = _numbers(rows["n_mature"])
    carriers = None
    if kind == "ratio" and not rows["with_denominator"].null_count:
        carriers = np.zeros(lead)
        carriers[where] = _numbers(rows["with_denominator"])
    rest = None if rows["rest"].null_count or not rows.num_rows else rests(rows["rest"], where, lead, k, m)
    return Cube(metrics, axes, stats, mature, carriers, named, rest)


def bucket_stats(table: pa.Table, cube: Cube, buckets: int = 256) -> SufficientStatistics:
    """The statistics of the cube's metrics by unit bucket: lead (arm, metric, bucket)."""
    rows = bucket_set(table)
    index = [
        positions(rows["variant_id"], cube.axes.arms),
        positions(rows["metric_name"], [metric.name for metric in cube.metrics]),
        np.asarray(rows["unit_bucket"].to_numpy(), dtype=np.int64),
    ]
    keep = np.all([i >= 0 for i in index], axis=0)
    lead = (len(cube.axes.arms), len(cube.metrics), buckets)
    k, m = cube.stats.k, cube.stats.did_v.shape[-1]
    return scatter(rows.filter(pa.array(keep)), tuple(i[keep] for i in index), lead, k, m)


def scatter(
    rows: pa.Table, where: tuple[NDArray[np.int64], ...], lead: tuple[int, ...], k: int, m: int
) -> SufficientStatistics:
    """Lay rows into a cube of zeros; `where` holds one index array for each leading axis and names a cell once."""
    stats = SufficientStatistics.zeros(lead, k, m)
    for name in _SCALARS:
        getattr(stats, name)[where] = _numbers(rows[name])
    sizes = {"k": (k,), "kk": (k, k), "m": (m,), "mm": (m, m)}
    for name, shape in _LISTS.items():
        size = sizes[shape]
        if np.prod(size) and rows.num_rows:
            flat = rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            getattr(stats, name)[where] = flat.reshape(-1, *size)
    return stats


def rests(
    lists: pa.ChunkedArray, where: tuple[NDArray[np.int64], ...], lead: tuple[int, ...], k: int, m: int
) -> SufficientStatistics:
    """Lay the rests of rows into a cube of zeros, as `scatter` does with the sums that they belong to."""
    stats = SufficientStatistics.zeros(lead, k, m)
    sizes = {"k": (k,), "kk": (k, k), "m": (m,), "mm": (m, m)}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(RESTS, ()) | {n: sizes[s] for n, s in _LISTS.items()}
    flat, first = lists.combine_chunks().flatten().to_numpy(), 0
    by_row = flat.reshape(len(lists), -1)
    for name, shape in shapes.items():
        last = first + int(np.prod(shape))
        getattr(stats, name)[where] = by_row[:, first:last].reshape(-1, *shape)
        first = last
    return stats


def positions(column: Any, labels: Sequence[Any]) -> NDArray[np.int64]:
    """Position of each value among the labels, -1 where it is none of them."""
    if not labels:
        return np.full(len(column), -1)
    value_set = pa.array(labels, type=column.type)
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=value_set), -1).to_numpy(), dtype=np.int64)


def _numbers(column: Any) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), dtype=float)
