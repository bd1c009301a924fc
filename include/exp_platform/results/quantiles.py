"""Quantile metrics: histograms of the statistics table to effects, element by element."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.models import Metric
from exp_platform.results.cube import ALL, Cube, bucket_set, cohort_set
from exp_platform.stats.effect import Effect
from exp_platform.stats.quantile import Histogram, quantile_effect
from exp_platform.sums.histograms import Histograms, bins_of


def quantile_effects(table: pa.Table, cube: Cube, *, alpha: float, min_units: int) -> Effect:
    """Lead (treatment, metric, segment), as the other effects of a cube.

    Overall the variance comes from the unit buckets. In a segment there are none: a unit value's is binomial, and
    events are clustered by cohort date, because a unit's events share one.
    """
    units = cube.overall.n
    columns: list[list[Effect]] = []
    for j, metric in enumerate(cube.metrics):
        rows = table.filter(pc.equal(table["metric_name"], metric.name))
        columns.append(
            [
                quantile_effect(
                    [
                        _histogram(rows, metric, arm, segment, float(units[a, j, s]))
                        for a, arm in enumerate(cube.axes.arms)
                    ],
                    float(metric.quantile or 0.5),
                    alpha=alpha,
                    min_units=min_units,
                )
                for s, segment in enumerate(cube.axes.segments)
            ]
        )
    return Effect(
        **{
            f.name: np.stack([np.stack([getattr(e, f.name) for e in row], axis=-1) for row in columns], axis=1)
            for f in fields(Effect)
        }
    )


def group_histogram(rows: pa.Table, key: str, units: float) -> Histogram:
    """The histograms of some rows of the statistics as one, whose groups are the values of a column."""
    ordered = rows.sort_by(key)
    columns = (ordered[name] for name in ("histogram", "histogram_lows", "histogram_highs"))
    found = Histograms.of_lists([(group,) for group in ordered[key].to_pylist()], bins_of(*columns))
    return Histogram.from_bins(units, found.bins)


def _histogram(rows: pa.Table, metric: Metric, arm: str, segment: str, units: float) -> Histogram:
    """One arm's counts in one segment, in groups that each hold whole units."""
    source, key = (bucket_set(rows), "unit_bucket") if segment == ALL else (cohort_set(rows), "cohort_date")
    mine = source.filter(pc.and_(pc.equal(source["variant_id"], arm), pc.equal(source["segment"], segment)))
    histogram = group_histogram(mine, key, units)
    return histogram.merged() if segment != ALL and metric.level == "unit" else histogram
