"""CUPED in J6: the sources of covariates that the statistics of a metric have, and what each of them gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exp_platform.metrics.families import PRE, covariate_source
from exp_platform.results.cube import Cube
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.covariates import Adjusted, Source, adjusted_effect, put, widened, with_strata
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.sufficient import Array, SufficientStatistics

OVERALL = 0  # place of the segment `all`


def covariate_adjusted(cube: Cube, plan: AnalysisPlan) -> Adjusted:
    """The covariate-adjusted effects of a cube's metrics, lead (treatment, metric, segment), with each source's gain.

    The metric's own pre-period is always used. The metrics that the contract names, and in the overall rows the strata
    of the registry, follow in this order where they pay for themselves.
    """
    options: dict[str, Any] = {
        "ratio": cube.kind == "ratio",
        "binary": cube.kind == "binary",
        "alpha": plan.experiment.alpha,
        "min_units": plan.experiment.min_units,
        "with_denominator": cube.carriers,
    }
    arms, sources = cube.overall, sources_of(cube)
    if plan.experiment.stratify_by:
        arms, strata = stratified(cube, plan.experiment.stratify_by)
        sources = (*sources, strata)
    if len(sources) == 1:
        effect = cuped_effect(arms, **options)
        return Adjusted(effect, {sources[0].name: effect.variance_reduction})
    return adjusted_effect(arms, sources, **options)


def sources_of(cube: Cube) -> tuple[Source, ...]:
    """The sources of a cube's covariates: the metric's own pre-period, then the metrics that the contract names."""
    names = cube.covariates if len(cube.covariates) == cube.stats.k else (PRE,) * cube.stats.k
    places: dict[str, list[int]] = {PRE: []}
    for place, name in enumerate(names):
        places.setdefault(covariate_source(name), []).append(place)
    return tuple(Source(name, tuple(columns)) for name, columns in places.items())


def stratified(cube: Cube, dimension: str) -> tuple[SufficientStatistics, Source]:
    """The overall statistics with a covariate for each value of the dimension, and these covariates as a source.

    The sums of the dimension's segments are what post-stratification needs. Segments themselves get covariates that
    are 0: no sums say how two dimensions overlap.
    """
    arms = cube.overall
    index = [i for i, segment in enumerate(cube.axes.segments) if segment.startswith(f"{dimension}=")]
    at = (slice(None), slice(None), OVERALL)
    strata = with_strata(arms[at], arms[:, :, index])
    columns = tuple(range(arms.k, arms.k + len(index)))
    overall = np.arange(len(cube.axes.segments)) == OVERALL
    return put(widened(arms, len(index)), at, strata), Source(dimension, columns, overall)


def by_covariate(gains: Mapping[str, Array], rows: int) -> NDArray[Any]:
    """One map from source to gain for each row, None where no source is used."""
    found = np.empty(rows, dtype=object)
    for name, gain in gains.items():
        values = gain.ravel()
        for i in np.flatnonzero(np.isfinite(values)):
            found[i] = [*(found[i] or []), (name, float(values[i]))]
    return found
