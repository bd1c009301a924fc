"""A/A on a team's own data: the unit buckets of an experiment dealt anew to two arms, metric by metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import EqualTo

from exp_platform.calibration.dealt_buckets import BucketAA, bucket_aa, bucket_aa_quantile
from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Metric
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.results.cube import TABLE, Cube, bucket_set, bucket_stats, cubes, read_axes
from exp_platform.results.quantiles import group_histogram
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.status import Method

BUCKETS = 256
QUANTILE_DEALS = 200  # a quantile costs a thousand times more than a mean


@dataclass(frozen=True)
class Calibrated:
    """How often one metric × method calls an A/A deal significant."""

    metric: str
    method: str
    deals: int  # with an answer
    rate: float | None  # share of deals with p < alpha; null without an answer
    band_low: float
    band_high: float
    kept: bool


def calibrate_experiment(project: Project, experiment_id: str, deals: int = 1000, seed: int = 1) -> str:
    """Read an experiment's statistics and say for each metric whether its false positives are what alpha promises."""
    experiment = project.experiment(experiment_id)
    table = load_handle(project, TABLE).scan(row_filter=EqualTo("experiment_id", experiment_id)).to_arrow()
    if table.num_rows == 0:
        raise ConfigError(f"{experiment_id} has no statistics yet: `exp run {experiment_id}`")
    return describe(calibrate(table, project.metrics_of(experiment), experiment, deals, seed), experiment)


def calibrate(
    table: pa.Table, metrics: Sequence[Metric], experiment: Experiment, deals: int, seed: int
) -> list[Calibrated]:
    """One row per metric × method, from the bucket rows of the statistics; real arms are merged before dealing."""
    arms = (experiment.control.id, *(variant.id for variant in experiment.treatments))
    found: list[Calibrated] = []
    for cube in cubes(table, metrics, read_axes(table, arms)):
        if cube.kind == "quantile":
            found += [_quantile(table, metric, experiment, min(deals, QUANTILE_DEALS), seed) for metric in cube.metrics]
        else:
            found += _sums(table, cube, experiment, deals, seed)
    order = [metric.name for metric in metrics]
    return sorted(found, key=lambda row: order.index(row.metric))


def describe(rows: Sequence[Calibrated], experiment: Experiment) -> str:
    """A small table for the terminal, and one sentence that sums it up."""
    width = max((len(row.metric) for row in rows), default=6)
    lines = [f"{'metric':<{width}}  method  deals  p < {experiment.alpha:g}  expected"]
    for row in rows:
        rate = "     –" if row.rate is None else f"{row.rate:6.1%}"
        verdict = "" if row.kept else ("  no answer" if row.rate is None else "  <- outside")
        band = f"{row.band_low:.1%} to {row.band_high:.1%}" if row.rate is not None else ""
        lines.append(f"{row.metric:<{width}}  {row.method:<6}  {row.deals:5d}  {rate}    {band}{verdict}")
    answered = [row for row in rows if row.rate is not None]
    outside = sorted({row.metric for row in answered if not row.kept})
    if outside:
        lines.append(
            f"Outside its band: {', '.join(outside)}. Look at skewness, caps and units that are not independent."
        )
    elif not answered:
        lines.append("No metric has an answer, so nothing is shown: half of the units must be enough for a result.")
    else:
        silent = (
            f" ({len(rows) - len(answered)} of {len(rows)} rows have no answer)" if len(answered) < len(rows) else ""
        )
        lines.append(f"Every metric's false positives lie in the band that alpha promises{silent}.")
    return "\n".join(lines)


def _sums(table: pa.Table, cube: Cube, experiment: Experiment, deals: int, seed: int) -> list[Calibrated]:
    merged = bucket_stats(table, cube, BUCKETS).sum(axis=0)
    by_bucket = type(merged)(**{name: np.moveaxis(value, 1, 0) for name, value in vars(merged).items()})
    options: dict[str, Any] = {"alpha": experiment.alpha, "min_units": experiment.min_units}
    binary = cube.kind == "binary"
    plain = partial(ratio_effect, **options) if cube.kind == "ratio" else partial(mean_effect, binary=binary, **options)
    estimators: dict[Method, Callable[..., Effect]] = {Method.AB: plain}
    if merged.k:
        estimators[Method.CUPED] = partial(cuped_effect, ratio=cube.kind == "ratio", binary=binary, **options)
    rows = []
    for method, estimate in estimators.items():
        found = bucket_aa(
            by_bucket, estimate, rounds=deals, share=_share(experiment), alpha=experiment.alpha, seed=seed
        )
        rows += [_row(metric, method, found, j) for j, metric in enumerate(cube.metrics)]
    return rows


def _quantile(table: pa.Table, metric: Metric, experiment: Experiment, deals: int, seed: int) -> Calibrated:
    rows = bucket_set(table)
    rows = rows.filter(pc.equal(rows["metric_name"], metric.name))
    found = bucket_aa_quantile(
        group_histogram(rows, "unit_bucket", float(np.sum(rows["n"].to_numpy()))),
        float(metric.quantile or 0.5),
        rounds=deals,
        share=_share(experiment),
        alpha=experiment.alpha,
        seed=seed,
    )
    return _row(metric, Method.AB, found, ())


def _share(experiment: Experiment) -> float:
    """Share of the first treatment among it and control: the deals are as uneven as the experiment."""
    treatment, control = (experiment.shares[arm.id] for arm in (experiment.treatments[0], experiment.control))
    return treatment / (treatment + control)


def _row(metric: Metric, method: Method, found: BucketAA, at: int | tuple[()]) -> Calibrated:
    rate = float(found.rate[at])
    known = bool(np.isfinite(rate))
    return Calibrated(
        metric=metric.name,
        method=method.value,
        deals=int(np.asarray(found.rounds)[at]),
        rate=rate if known else None,
        band_low=float(np.asarray(found.band_low)[at]) if known else 0.0,
        band_high=float(np.asarray(found.band_high)[at]) if known else 1.0,
        kept=known and bool(np.asarray(found.kept)[at]),
    )
