"""The table gold.fct_experiment_metric_series as cubes: the statistics as of every day, where a cube has segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.results.cube import Axes, Cube, kind_of, positions
from exp_platform.stats.sufficient import Array, SufficientStatistics, two_sum

SCALARS = ("y", "yy", "yyy", "d", "dd", "yd")  # numbers of a row, then its lists, as `rest` has them
LISTS = ("x", "xx", "xy", "dx", "without_x")
COUNTS = ("n", "n_null", "n_mature", "n_x", "with_denominator")
PARTS = 3  # the number in its column and two in `rest`


def series_days(series: pa.Table) -> tuple[date, ...]:
    """The days of a series, in order."""
    return tuple(sorted(pc.unique(series["as_of"]).to_pylist()))


def series_cubes(series: pa.Table, metrics: Sequence[Metric], arms: Sequence[str], days: Sequence[date]) -> list[Cube]:
    """One cube for each kind of metric and its covariates, with the lead (arm, 1, metric, day)."""
    first = _first_rows(series)
    groups: dict[tuple[str, tuple[str, ...], int], list[Metric]] = {}
    for metric in metrics:
        if metric.name in first:
            groups.setdefault((kind_of(metric), *first[metric.name]), []).append(metric)
    return [_cube(series, tuple(group), arms, days, key) for key, group in sorted(groups.items())]


def _first_rows(series: pa.Table) -> dict[str, tuple[tuple[str, ...], int]]:
    """Metric -> names of its covariates and length of `without_x`, which all its rows share."""
    names = series["metric_name"].combine_chunks().dictionary_encode()
    rows = np.unique(names.indices.to_numpy(), return_index=True)[1] if len(names) else np.zeros(0, dtype=np.int64)
    found = series.select(["metric_name", "covariates", "without_x"]).take(pa.array(rows)).to_pylist()
    return {row["metric_name"]: (tuple(row["covariates"]), len(row["without_x"])) for row in found}


def _cube(
    series: pa.Table,
    metrics: tuple[Metric, ...],
    arms: Sequence[str],
    days: Sequence[date],
    key: tuple[str, tuple[str, ...], int],
) -> Cube:
    kind, covariates, others = key
    k, lead = len(covariates), (len(arms), len(metrics), len(days))
    labels = (("variant_id", arms), ("metric_name", [m.name for m in metrics]), ("as_of", days))
    index = [positions(series[name], known) for name, known in labels]
    keep = np.all([i >= 0 for i in index], axis=0)
    rows, where = series.filter(pa.array(keep)), tuple(i[keep] for i in index)
    numbers = as_of_every_day(_laid_out(_parts(rows), where, lead))
    counts = {name: np.cumsum(_laid_out(_count(rows, name), where, lead), axis=-1) for name in COUNTS}
    stats = _statistics(numbers, counts, k)
    if others:
        stats = with_missing_covariates(stats, counts["n_x"], numbers[..., -others:])
    stats = SufficientStatistics(**{name: column[:, None] for name, column in vars(stats).items()})
    axes = Axes(tuple(arms), (days[-1],), tuple(day.isoformat() for day in days))
    carriers = counts["with_denominator"][:, None] if kind == "ratio" else None
    return Cube(metrics, axes, stats, counts["n_mature"][:, None], carriers, covariates)


def _laid_out(values: Any, where: tuple[Any, ...], lead: tuple[int, ...]) -> Array:
    found = np.zeros((*lead, *values.shape[1:]))
    found[where] = values
    return found


def _count(rows: pa.Table, name: str) -> Array:
    return np.asarray(rows[name].fill_null(0).to_numpy(), dtype=float)


def _parts(rows: pa.Table) -> Array:
    """Rows × numbers × PARTS."""
    head = [rows[name].to_numpy()[:, None] for name in SCALARS]
    lists = [rows[name].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1) for name in LISTS]
    first = np.concatenate([*head, *lists], axis=1)
    rest = rows["rest"].combine_chunks().flatten().to_numpy().reshape(*first.shape, PARTS - 1)
    return np.concatenate([first[..., None], rest], axis=-1)


def as_of_every_day(changes: Array) -> Array:
    """The sums as of each day, each rounded once: (arm, metric, day, number, part) to (arm, metric, day, number)."""
    total = np.zeros((*changes.shape[:2], changes.shape[3]))
    left, found = np.zeros_like(total), np.zeros(changes.shape[:4])
    with np.errstate(all="ignore"):
        for day in range(changes.shape[2]):
            for part in range(changes.shape[4]):
                total, error = two_sum(total, changes[:, :, day, :, part])
                left = left + error
            total, left = two_sum(total, left)
            found[:, :, day] = total
    return found


def _statistics(numbers: Array, counts: dict[str, Array], k: int) -> SufficientStatistics:
    zeros = SufficientStatistics.zeros(numbers.shape[:3], k)
    columns, first = {"n": counts["n"], "n_null": counts["n_null"]}, 0
    for name, shape in (*((name, ()) for name in SCALARS), ("x", (k,)), ("xx", (k, k)), ("xy", (k,)), ("dx", (k,))):
        last = first + int(np.prod(shape))
        columns[name] = numbers[..., first:last].reshape(*numbers.shape[:3], *shape)
        first = last
    return replace(zeros, **columns)


def with_missing_covariates(stats: SufficientStatistics, n_x: Array, without: Array) -> SufficientStatistics:
    """A missing own covariate takes the pooled mean of all arms, as J5 puts it into the statistics.

    `without` are the sums over the units without it: their values, then their named covariates.
    """
    missing, units = stats.n - n_x, n_x.sum(axis=0)
    with np.errstate(all="ignore"):
        mean = np.where(units > 0, stats.x[..., 0].sum(axis=0) / units, 0.0)
    x, xx, xy = stats.x.copy(), stats.xx.copy(), stats.xy.copy()
    x[..., 0] += missing * mean
    xx[..., 0, 0] += missing * mean**2
    xy[..., 0] += without[..., 0] * mean
    for j in range(1, without.shape[-1]):
        xx[..., 0, j] += without[..., j] * mean
        xx[..., j, 0] = xx[..., 0, j]
    return replace(stats, x=x, xx=xx, xy=xy)
