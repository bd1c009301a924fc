"""Errors of an arm's mean from its clusters: how much of their spread is left to be seen, and how well it is known.

An arm's mean over its cohort dates is Σ share · mean of cluster and date. A cluster is seen as its deviation from the
other clusters of its dates, and the squares of these deviations fall short of the truth: by 1/G for G clusters of one
size, by more where a few hold most units or where dates have few clusters. If clusters differ by a shock of their own,
with one variance, both the shortfall and the degrees of freedom follow from the shares alone (Bell and McCaffrey).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.sufficient import Array

TOO_FEW_CLUSTERS = "too_few_clusters"
MIN_CONTRASTS = 4  # comparisons between clusters of an arm: five clusters that share a cohort date
SEEN = 1e-9  # share of the clusters' variance below which nothing of it is seen


@dataclass(frozen=True, eq=False)
class ClusterSpread:
    """One arm's clusters over the cohort dates; the last axis of `share` is the cluster, NaN is not known."""

    share: Array  # of each cluster in the arm's mean
    factor: Array  # by which a sum of squared deviations falls short
    df: Array
    contrasts: Array  # comparisons between clusters within dates
    alone: NDArray[np.bool_]  # a single cluster makes up the arm on some date
    _places: Array  # (2 · dates, clusters)
    _kernel: Array  # the deviations' covariance is diag(share²) − places' · kernel · places


def cluster_spread(units: Array, weight: Array) -> ClusterSpread:
    """From units by (treatment, cohort date, …, cluster) and the weight of each date."""
    n = np.moveaxis(np.where((weight > 0)[..., None], units, 0.0), 1, -2)
    by_date = n.sum(axis=-1, keepdims=True)
    of_date = np.divide(n, by_date, out=np.zeros_like(n), where=by_date > 0)
    of_all = np.moveaxis(weight, 1, -1)[..., None] * of_date
    share, dates = of_all.sum(axis=-2), n.shape[-2]
    places = np.concatenate([share[..., None, :] * of_date, of_all], axis=-2)
    kernel = np.zeros((*share.shape[:-1], 2 * dates, 2 * dates))
    kernel[..., :dates, dates:] = kernel[..., dates:, :dates] = np.eye(dates)
    kernel[..., dates:, dates:] = -of_date @ np.swapaxes(of_date, -1, -2)
    lost = ((kernel @ places) * places).sum(axis=-2)
    squares, seen = (share**2).sum(axis=-1), (share**2 - lost).sum(axis=-1)
    known = seen > SEEN * squares
    product = kernel @ places @ np.swapaxes(places, -1, -2)
    trace = (share**4 - 2 * share**2 * lost).sum(axis=-1) + np.trace(product @ product, axis1=-2, axis2=-1)
    count = (n > 0).sum(axis=-1)
    with np.errstate(all="ignore"):
        return ClusterSpread(
            share,
            np.where(known, squares / seen, np.nan),
            np.where(known, seen**2 / trace, np.nan),
            np.minimum((share > 0).sum(axis=-1) - 1, np.maximum(count - 1, 0).sum(axis=-1)),
            (count == 1).any(axis=-1),
            places,
            kernel,
        )


def freedom(variances: Sequence[Array], spreads: Sequence[ClusterSpread]) -> Array:
    """Degrees of freedom of control's and treatment's variance together.

    Where clusters lie in one arm each it is Satterthwaite's; clusters that lie in both arms are the same clusters.
    """
    (one, other), (first, second) = variances, spreads
    with np.errstate(all="ignore"):
        # Shares, because the square of a small variance is 0; an arm without variance adds nothing.
        shares = [variance / (one + other) for variance in variances]
        lost = sum(np.where(s > 0, s**2 / spread.df, 0.0) for s, spread in zip(shares, spreads, strict=True))
        shared = np.where((one > 0) & (other > 0), 2 * shares[0] * shares[1] * common_part(first, second), 0.0)
        return np.asarray(1 / (lost + shared), dtype=float)


def common_part(one: ClusterSpread, other: ClusterSpread) -> Array:
    """How far both arms' errors are of the same clusters: 0 for none in common, 1 / df where all are."""
    squares = [spread.share**2 for spread in (one, other)]
    lost = [((s._kernel @ s._places) * s._places).sum(axis=-2) for s in (one, other)]
    cross = one._places @ np.swapaxes(other._places, -1, -2)
    both = one._kernel @ cross @ other._kernel @ np.swapaxes(cross, -1, -2)
    product = squares[0] * squares[1] - squares[0] * lost[1] - squares[1] * lost[0]
    total = product.sum(axis=-1) + np.trace(both, axis1=-2, axis2=-1)
    traces = [(square - less).sum(axis=-1) for square, less in zip(squares, lost, strict=True)]
    whole = traces[0] * traces[1]
    return np.asarray(np.divide(total, whole, out=np.zeros_like(total), where=whole > 0))
