"""Did the groups move in parallel before treatment? Daily deltas, a slope test and a joint test of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exp_platform.causal.daily_differences import Components, PanelMoments, components
from exp_platform.stats.effect import DEFAULT_ALPHA, join_reasons, t_quantile, two_sided_p
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import PRETRENDS_FAIL_BELOW
from exp_platform.status import PretrendVerdict

__all__ = ("TESTS", "PanelMoments", "PretrendDeltas", "PretrendTests", "pretrend_deltas", "pretrend_tests")

TESTS = ("slope", "joint")
SINGLE_DAY = "single_day"  # with values: two waves have no trend before
FEWER_CLUSTERS_THAN_DAYS = "fewer_clusters_than_days"
SINGULAR = 1e-10  # smallest eigenvalue of the deltas' correlation matrix that still counts as regular


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


def pretrend_deltas(
    panel: PanelMoments, *, by_cohort_date: bool = False, alpha: float = DEFAULT_ALPHA
) -> PretrendDeltas:
    """Daily deltas of each treatment against control with their intervals; lead of the result has one arm less."""
    parts = components(panel if by_cohort_date else panel.with_dates())
    with np.errstate(all="ignore"):
        se = np.sqrt(np.diagonal(parts.cov, axis1=-2, axis2=-1))
        df = parts.freedom(np.diagonal(parts.pieces, axis1=-2, axis2=-1))
        known = np.isfinite(parts.delta) & (se > 0) & np.isfinite(df)
        half = t_quantile(1 - alpha / 2, df) * se
    low, high, se, df = (np.where(known, v, np.nan) for v in (parts.delta - half, parts.delta + half, se, df))
    return PretrendDeltas(panel.relative_days, parts.control_mean, parts.treatment_mean, parts.delta, se, df, low, high)


def pretrend_tests(panel: PanelMoments, *, by_cohort_date: bool = False) -> PretrendTests:
    """Slope of the deltas on the day, and Hotelling's F that all deltas are equal (a constant gap is allowed).

    Both take the whole covariance between days from totals of units or of clusters, so that days need not be
    independent; the arms' covariances are not assumed equal (degrees of freedom after Krishnamoorthy and Yu). Where an
    arm's clusters do not exceed the days, the joint test has no answer and the slope stands alone.
    """
    parts = components(panel if by_cohort_date else panel.with_dates())
    days = len(panel.relative_days)
    measured = (np.diagonal(parts.cov, axis1=-2, axis2=-1) > 0).sum(axis=-1)
    single = np.asarray((measured == 1) | np.full(parts.few.shape, days < 2))
    singular, no_joint = _singular(parts.cov), parts.joint_days < days
    testable = ~(parts.few | single | singular | no_joint)
    with np.errstate(all="ignore"):
        slope, t, t_df, t_p = _slope(parts, panel.relative_days.astype(float))
        f, f_df, f_denominator, f_p = _joint(parts, testable)
    alone = no_joint & ~parts.few & ~single & np.isfinite(t_p)
    both = testable & np.isfinite(t_p) & np.isfinite(f_p)
    usable = np.stack([both | alone, both], axis=-1)
    p_value = np.where(usable, np.stack([t_p, f_p], axis=-1), np.nan)
    adjusted = holm(p_value, axis=-1)
    reason = join_reasons(
        [
            (single, SINGLE_DAY),
            (parts.few, parts.few_word),
            (singular & ~parts.few & ~single & ~alone, "singular_covariance"),
            (alone, FEWER_CLUSTERS_THAN_DAYS),
        ],
        parts.few.shape,
    )
    verdict = np.where(adjusted < PRETRENDS_FAIL_BELOW, PretrendVerdict.FAILED.value, PretrendVerdict.PASSED.value)
    return PretrendTests(
        statistic=np.where(usable, np.stack([t, f], axis=-1), np.nan),
        df=np.where(usable, np.stack([t_df, f_df], axis=-1), np.nan),
        df_denominator=np.where(usable, np.stack([np.full_like(t, np.nan), f_denominator], axis=-1), np.nan),
        p_value=p_value,
        p_value_adjusted=adjusted,
        verdict=np.where(usable, verdict, PretrendVerdict.INSUFFICIENT_DATA.value),
        reason=np.broadcast_to(reason[..., None], verdict.shape),
        slope=np.where(usable[..., 0], slope, np.nan),
    )


def _singular(cov: Array) -> NDArray[np.bool_]:
    """Where the deltas' covariance has a day without variance, or days that determine one another."""
    scale = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    flat = ~(scale > 0)
    safe = np.where(flat, 1.0, scale)
    correlation = np.where(np.isfinite(cov), cov, 0.0) / (safe[..., :, None] * safe[..., None, :])
    return np.asarray(flat.any(axis=-1) | (np.linalg.eigvalsh(correlation).min(axis=-1) < SINGULAR))


def _slope(parts: Components, days: Array) -> tuple[Array, Array, Array, Array]:
    """Least-squares slope of the deltas: the same as the difference of the arms' mean unit slopes, hence Welch."""
    centred = days - days.mean()
    contrast = centred / (centred**2).sum()
    slope = parts.delta @ contrast
    variances = np.einsum("i,...ij,j->...", contrast, parts.pieces, contrast)
    df = parts.freedom(variances[..., None])[..., 0]
    t = slope / np.sqrt(np.einsum("i,...ij,j->...", contrast, parts.cov, contrast))
    return slope, t, df, two_sided_p(t, df)


def _joint(parts: Components, usable: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Hotelling's T² of the consecutive differences of the deltas, as an F."""
    p = parts.delta.shape[-1] - 1
    if p < 1:
        null = np.full(parts.delta.shape[:-1], np.nan)
        return null, null, null, null
    contrast = np.diff(np.eye(p + 1), axis=0)
    difference = parts.delta @ contrast.T
    inverse = np.linalg.inv(_or_unit(contrast @ parts.cov @ contrast.T, usable))
    t_squared = np.einsum("...i,...ij,...j->...", difference, inverse, difference)
    pieces = contrast @ parts.pieces @ contrast.T
    share = pieces @ np.linalg.inv(_or_unit(pieces.sum(axis=0), usable))
    nu = (p + p**2) / parts.lost(share)
    f_denominator = nu - p + 1
    f = t_squared * f_denominator / (nu * p)
    return f, np.full_like(f, p), f_denominator, np.asarray(special.fdtrc(p, f_denominator, f))


def _or_unit(matrix: Array, usable: NDArray[np.bool_]) -> Array:
    return np.where(usable[..., None, None], matrix, np.eye(matrix.shape[-1]))
