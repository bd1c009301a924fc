"""Daily values before assignment: the difference between the arms on each day, and how the days vary together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.causal.cluster_errors import MIN_CONTRASTS, TOO_FEW_CLUSTERS, cluster_spread, common_part
from exp_platform.causal.did import cohort_weights, effective_units
from exp_platform.stats.moments import centred_matrix
from exp_platform.stats.sufficient import Array

TOO_FEW_UNITS = "too_few_units"
UNITS_PER_DAY = 5  # an arm needs this many units for each day of the panel


@dataclass(frozen=True, eq=False)
class PanelMoments:
    """Sums over units of their daily values before assignment; axis 0 of the leading axes is the arm, control first.

    `sums` is lead + (J,), `products` lead + (J, J), in the order of `relative_days` (ascending, negative). A unit
    without an event on a day counts as 0, so that `n` is the same on every day. With clusters, `cluster_n` is lead +
    (G,) and `cluster_sums` lead + (G, J): every unit is in one cluster.
    """

    relative_days: NDArray[np.int64]
    n: Array
    sums: Array
    products: Array
    cluster_n: Array | None = None
    cluster_sums: Array | None = None

    def with_dates(self) -> PanelMoments:
        """These moments with an axis for the cohort date, of length one, after the arm's."""
        clusters = (v if v is None else v[:, None] for v in (self.cluster_n, self.cluster_sums))
        return PanelMoments(self.relative_days, self.n[:, None], self.sums[:, None], self.products[:, None], *clusters)


@dataclass(frozen=True, eq=False)
class Components:
    """Deltas of each treatment, their covariance, and the pieces that it was estimated from, stacked on axis 0."""

    delta: Array
    control_mean: Array
    treatment_mean: Array
    cov: Array  # lead + (J, J)
    pieces: Array  # each arm's covariance, between units for each cohort date, or between clusters over all dates
    df: Array  # (pieces, lead…)
    common: Array  # of the errors of two pieces that hold the same clusters
    few: NDArray[np.bool_]  # units or clusters, for any test
    few_word: str
    joint_days: Array  # the most days that can be tested together

    def freedom(self, variances: Array) -> Array:
        """Degrees of freedom of a sum of variances, one of each piece (axis 0); the last axis is free."""
        share = variances / variances.sum(axis=0)
        lost = np.where(variances > 0, share**2 / self.df[..., None], 0.0).sum(axis=0)
        return np.asarray(1 / (lost + 2 * self._common(share)), dtype=float)

    def lost(self, share: Array) -> Array:
        """Freedom that a sum of covariances loses: Σ (tr S² + (tr S)²) / df of each piece's share S in the whole."""
        trace, square = np.trace(share, axis1=-2, axis2=-1), np.trace(share @ share, axis1=-2, axis2=-1)
        lost = ((square + trace**2) / self.df).sum(axis=0)
        if not self.common.any():
            return np.asarray(lost)
        both = np.trace(share[0] @ share[1], axis1=-2, axis2=-1) + trace[0] * trace[1]
        return np.asarray(lost + 2 * both * self.common)

    def _common(self, share: Array) -> Array:
        return share[0] * share[1] * self.common[..., None] if self.common.any() else np.zeros_like(share[0])


def components(panel: PanelMoments) -> Components:
    """From sums with a cohort date as axis 1; errors are between clusters where the panel has them."""
    with np.errstate(all="ignore"):
        mean = panel.sums / panel.n[..., None]
    n = np.broadcast_to(panel.n[:1], panel.n[1:].shape), panel.n[1:]
    weight, _ = cohort_weights(*n)
    used = weight > 0
    nothing = np.asarray(~used.any(axis=1))[..., None]
    control, treatment = (np.where(nothing, np.nan, _over_dates(weight, side)) for side in (mean[:1], mean[1:]))
    between = _between_units if panel.cluster_sums is None else _between_clusters
    return between(panel, mean, n, weight, (treatment - control, control, treatment))


def _between_units(
    panel: PanelMoments, mean: Array, n: tuple[Array, Array], weight: Array, levels: tuple[Array, Array, Array]
) -> Components:
    with np.errstate(all="ignore"):
        cov = centred_matrix(panel.n, panel.sums, panel.products) / (panel.n * (panel.n - 1))[..., None, None]
    used = weight > 0
    square = np.where(used, weight**2, 0.0)[..., None, None]
    pieces, freedom = [], []
    for side, units in zip((cov[:1], cov[1:]), n, strict=True):
        piece = np.where(used[..., None, None], square * np.where(used[..., None, None], side, 0.0), 0.0)
        pieces.append(np.moveaxis(piece, 1, 0))
        freedom.append(np.moveaxis(np.where(used, units - 1, 1.0), 1, 0))
    # Two units on the date that weighs most are two units.
    smaller = np.minimum(*(effective_units(weight, units) for units in n))
    whole = np.concatenate(pieces)
    days = len(panel.relative_days)
    return Components(
        *levels,
        cov=whole.sum(axis=0),
        pieces=whole,
        df=np.concatenate(freedom),
        common=np.zeros_like(smaller),
        few=smaller < UNITS_PER_DAY * max(days, 1),
        few_word=TOO_FEW_UNITS,
        joint_days=np.full(smaller.shape, float(days)),
    )


def _between_clusters(
    panel: PanelMoments, mean: Array, n: tuple[Array, Array], weight: Array, levels: tuple[Array, Array, Array]
) -> Components:
    """A cluster's deviations are added up over dates and then squared; each arm has its own factor and freedom."""
    assert panel.cluster_n is not None and panel.cluster_sums is not None
    of_clusters = np.broadcast_to(panel.cluster_n[:1], panel.cluster_n[1:].shape), panel.cluster_n[1:]
    spreads = cluster_spread(of_clusters[0], weight), cluster_spread(of_clusters[1], weight)
    with np.errstate(all="ignore"):
        deviation = panel.cluster_sums - panel.cluster_n[..., None] * mean[..., None, :]
        deviation /= panel.n[..., None, None]
        control, treatment = (
            np.sqrt(spread.factor)[..., None, None] * _over_dates(weight, side)
            for spread, side in zip(spreads, (deviation[:1], deviation[1:]), strict=True)
        )
    pieces = np.stack([_products(control), _products(treatment)])
    return Components(
        *levels,
        cov=_products(treatment - control),
        pieces=pieces,
        df=np.stack([spread.df for spread in spreads]),
        common=common_part(*spreads),
        few=np.minimum(*(spread.contrasts for spread in spreads)) < MIN_CONTRASTS,
        few_word=TOO_FEW_CLUSTERS,
        # G clusters of one size have G − 1 degrees of freedom, and shall exceed the days.
        joint_days=np.minimum(*(spread.df for spread in spreads)) * (1 + 1e-9),
    )


def _products(values: Array) -> Array:
    return np.asarray(np.swapaxes(values, -1, -2) @ values)


def _over_dates(weight: Array, value: Array) -> Array:
    """Σ weight · value over the dates (axis 1) that have a weight."""
    weight = weight.reshape(weight.shape + (1,) * (value.ndim - weight.ndim))
    return np.asarray(np.where(weight > 0, weight * np.where(weight > 0, value, 0.0), 0.0).sum(axis=1))
