"""Did the groups move in parallel before treatment? Daily deltas, a slope test and a joint test, unit-clustered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exp_platform.causal.did import cohort_weights, effective_units
from exp_platform.stats.effect import DEFAULT_ALPHA, join_reasons, satterthwaite, t_quantile, two_sided_p
from exp_platform.stats.moments import centred_matrix
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sufficient import Array
from exp_platform.status import PretrendVerdict

TESTS = ("slope", "joint")
FAIL_BELOW = 0.05  # on the p adjusted over the two tests of one row
UNITS_PER_DAY = 5  # an arm needs this many units for each day of the panel
SINGULAR = 1e-10  # smallest eigenvalue of the deltas' correlation matrix that still counts as regular


@dataclass(frozen=True, eq=False)
class Panel:
    """Sums over units of their daily values before assignment; axis 0 of the leading axes is the arm, control first.

    `sums` is lead + (J,), `products` lead + (J, J), in the order of `relative_days` (ascending, negative). A unit
    without an event on a day counts as 0, so that `n` is the same on every day.
    """

    relative_days: NDArray[np.int64]
    n: Array
    sums: Array
    products: Array


@dataclass(frozen=True, eq=False)
class PretrendDeltas:
    """Treatment minus control on each relative day (last axis), in the metric's unit per day; NaN is null."""

    relative_days: NDArray[np.int64]
    control_mean: Array
    treatment_mean: Array
    delta: Array
    se: Array
    df: Array
    ci_low: Array
    ci_high: Array


@dataclass(frozen=True, eq=False)
class PretrendTests:
    """The two tests of `TESTS` on the last axis: slope (t) and joint (F); NaN is null, with the reason."""

    statistic: Array
    df: Array  # of t; numerator of F
    df_denominator: Array  # of F; null for the slope
    p_value: Array
    p_value_adjusted: Array  # Holm over the two
    verdict: NDArray[Any]  # words of PretrendVerdict
    reason: NDArray[Any]
    slope: Array  # change of delta per day, lead without the test axis


@dataclass(frozen=True, eq=False)
class _Components:
    """Independent pieces of the deltas' covariance, stacked on axis 0 (arm × cohort date)."""

    delta: Array
    control_mean: Array
    treatment_mean: Array
    cov: Array  # (pieces, lead…, J, J), already weighted
    df: Array  # (pieces, lead…)
    units: Array  # smaller arm, effective over the dates: two units on the date that weighs most are two units


def pretrend_deltas(panel: Panel, *, by_cohort_date: bool = False, alpha: float = DEFAULT_ALPHA) -> PretrendDeltas:
    """Daily deltas of each treatment against control with Welch intervals; lead of the result has one arm less."""
    parts = _components(panel, by_cohort_date)
    with np.errstate(all="ignore"):
        variances = np.diagonal(parts.cov, axis1=-2, axis2=-1)
        se = np.sqrt(variances.sum(axis=0))
        df = _df(variances, parts.df[..., None])
        known = np.isfinite(parts.delta) & (se > 0) & np.isfinite(df)
        half = t_quantile(1 - alpha / 2, df) * se
    low, high, se, df = (np.where(known, v, np.nan) for v in (parts.delta - half, parts.delta + half, se, df))
    return PretrendDeltas(panel.relative_days, parts.control_mean, parts.treatment_mean, parts.delta, se, df, low, high)


def pretrend_tests(panel: Panel, *, by_cohort_date: bool = False) -> PretrendTests:
    """Slope of the deltas on the day, and Hotelling's F that all deltas are equal (a constant gap is allowed).

    Both take the whole covariance between days from unit totals, so that a unit's days need not be independent; the
    arms' covariances are not assumed equal (degrees of freedom after Krishnamoorthy and Yu).
    """
    parts = _components(panel, by_cohort_date)
    days = len(panel.relative_days)
    total = parts.cov.sum(axis=0)
    few = parts.units < UNITS_PER_DAY * max(days, 1)
    singular = _singular(total)
    single = np.full(few.shape, days < 2)
    usable = ~(few | singular | single)
    with np.errstate(all="ignore"):
        slope, t, t_df, t_p = _slope(parts, panel.relative_days.astype(float))
        f, f_df, f_denominator, f_p = _joint(parts, usable)
    usable &= np.isfinite(t_p) & np.isfinite(f_p)
    blank = ~usable[..., None]
    p = np.where(blank, np.nan, np.stack([t_p, f_p], axis=-1))
    adjusted = holm(p, axis=-1)
    reasons = [(single, "single_day"), (few, "too_few_units"), (singular & ~few & ~single, "singular_covariance")]
    reason = join_reasons(reasons, few.shape)
    verdict = np.where(adjusted < FAIL_BELOW, PretrendVerdict.FAILED.value, PretrendVerdict.PASSED.value)
    return PretrendTests(
        statistic=np.where(blank, np.nan, np.stack([t, f], axis=-1)),
        df=np.where(blank, np.nan, np.stack([t_df, f_df], axis=-1)),
        df_denominator=np.where(blank, np.nan, np.stack([np.full_like(t, np.nan), f_denominator], axis=-1)),
        p_value=p,
        p_value_adjusted=adjusted,
        verdict=np.where(blank, PretrendVerdict.INSUFFICIENT_DATA.value, verdict),
        reason=np.broadcast_to(reason[..., None], verdict.shape),
        slope=np.where(usable, slope, np.nan),
    )


def _components(panel: Panel, by_cohort_date: bool) -> _Components:
    n, sums, products = panel.n, panel.sums, panel.products
    if not by_cohort_date:
        n, sums, products = n[:, None], sums[:, None], products[:, None]
    with np.errstate(all="ignore"):
        mean = sums / n[..., None]
        cov = centred_matrix(n, sums, products) / (n * (n - 1))[..., None, None]
    control_n = np.broadcast_to(n[:1], n[1:].shape)
    weight, _ = cohort_weights(control_n, n[1:])
    used = weight > 0
    weighted = [
        np.where(used[..., None], weight[..., None] * np.where(used[..., None], side, 0.0), 0.0).sum(axis=1)
        for side in (mean[:1], mean[1:])
    ]
    nothing = np.asarray(~used.any(axis=1))[..., None]
    control, treatment = (np.where(nothing, np.nan, side) for side in weighted)
    square = np.where(used, weight**2, 0.0)[..., None, None]
    pieces, freedom = [], []
    for side, units in ((cov[:1], control_n), (cov[1:], n[1:])):
        piece = np.where(used[..., None, None], square * np.where(used[..., None, None], side, 0.0), 0.0)
        pieces.append(np.moveaxis(piece, 1, 0))
        freedom.append(np.moveaxis(np.where(used, units - 1, 1.0), 1, 0))
    smaller = np.minimum(effective_units(weight, control_n), effective_units(weight, n[1:]))
    return _Components(
        treatment - control, control, treatment, np.concatenate(pieces), np.concatenate(freedom), smaller
    )


def _df(variances: Array, freedom: Array) -> Array:
    return satterthwaite(list(variances), list(np.broadcast_to(freedom, variances.shape)))


def _singular(cov: Array) -> NDArray[np.bool_]:
    """Where the deltas' covariance has a day without variance, or days that determine one another."""
    scale = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    flat = ~(scale > 0)
    safe = np.where(flat, 1.0, scale)
    correlation = np.where(np.isfinite(cov), cov, 0.0) / (safe[..., :, None] * safe[..., None, :])
    return np.asarray(flat.any(axis=-1) | (np.linalg.eigvalsh(correlation).min(axis=-1) < SINGULAR))


def _slope(parts: _Components, days: Array) -> tuple[Array, Array, Array, Array]:
    """Least-squares slope of the deltas: the same as the difference of the arms' mean unit slopes, hence Welch."""
    centred = days - days.mean()
    contrast = centred / (centred**2).sum()
    slope = parts.delta @ contrast
    variances = np.einsum("i,...ij,j->...", contrast, parts.cov, contrast)
    df = _df(variances, parts.df)
    t = slope / np.sqrt(variances.sum(axis=0))
    return slope, t, df, two_sided_p(t, df)


def _joint(parts: _Components, usable: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Hotelling's T² of the consecutive differences of the deltas, as an F."""
    p = parts.delta.shape[-1] - 1
    if p < 1:
        null = np.full(parts.delta.shape[:-1], np.nan)
        return null, null, null, null
    contrast = np.diff(np.eye(p + 1), axis=0)
    pieces = contrast @ parts.cov @ contrast.T
    total = np.where(usable[..., None, None], pieces.sum(axis=0), np.eye(p))
    inverse = np.linalg.inv(total)
    difference = parts.delta @ contrast.T
    t_squared = np.einsum("...i,...ij,...j->...", difference, inverse, difference)
    share = pieces @ inverse
    trace = np.trace(share, axis1=-2, axis2=-1)
    trace_square = np.trace(share @ share, axis1=-2, axis2=-1)
    nu = (p + p**2) / ((trace_square + trace**2) / parts.df).sum(axis=0)
    f_denominator = nu - p + 1
    f = t_squared * f_denominator / (nu * p)
    return f, np.full_like(f, p), f_denominator, np.asarray(special.fdtrc(p, f_denominator, f))
