"""Centred sums of an arm: the only place where a sum of squares becomes a spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.arm import Arm
from exp_platform.stats.sufficient import Array, SufficientStatistics

# Below this share of the raw sum of squares a centred one is not known well (coefficient of variation 1e-6).
ROUNDING = 1e-12
NOISE = 1e-14  # and below this one it is what rounding makes of a constant
SKEWNESS_RULE = 355.0  # units per arm for each squared unit of skewness (Kohavi et al.)


@dataclass(frozen=True, eq=False)
class Linear:
    """A mean, or a ratio linearised around each arm's own value, with what a covariate adjustment needs."""

    n: Array
    mean: Array
    ss: Array  # Σ (u − ū)² of the linearised value u
    ss_x: Array  # centred Σ x u, lead + (k,)
    ss_xx: Array  # centred Σ x x, lead + (k, k)
    mean_x: Array  # lead + (k,)


def linearise(s: SufficientStatistics, *, ratio: bool = False) -> Linear:
    """Centred sums of u = y, or for a ratio R = Σy/Σd of u = (y − R d) / mean(d)."""
    with np.errstate(all="ignore"):
        n, nk = s.n, s.n[..., None]
        ss_xx = centred_matrix(s.n, s.x, s.xx)
        ss_xy = s.xy - s.x * s.y[..., None] / nk
        mean_x = s.x / nk
        if not ratio:
            return _linear(n, s.y / n, centred(n, s.y, s.yy), ss_xy, ss_xx, mean_x)
        value, mean_d = s.y / s.d, s.d / n
        # Σ(y − R d) is 0 by construction, so the raw sum of squares of u is already the centred one.
        raw = s.yy - 2 * value * s.yd + value**2 * s.dd
        scale = s.yy + value**2 * s.dd
        ss = np.where(raw <= ROUNDING * scale, 0.0, raw) / mean_d**2
        ss_xd = s.dx - s.x * s.d[..., None] / nk
        ss_xu = (ss_xy - value[..., None] * ss_xd) / mean_d[..., None]
        return _linear(n, value, ss, ss_xu, ss_xx, mean_x)


def _linear(n: Array, mean: Array, ss: Array, ss_x: Array, ss_xx: Array, mean_x: Array) -> Linear:
    """A constant varies with nothing: its cross products are rounding, which must not look like a tiny variance."""
    constant = (ss == 0)[..., None] | (np.diagonal(ss_xx, axis1=-2, axis2=-1) == 0)
    return Linear(n, mean, ss, np.where(constant, 0.0, ss_x), ss_xx, mean_x)


def blurred(s: SufficientStatistics, *, ratio: bool = False) -> NDArray[np.bool_]:
    """Where units differ, but by so little beside their size that sums of squares do not show by how much."""
    with np.errstate(all="ignore"):
        if ratio:
            value = s.y / s.d
            raw, scale = s.yy - 2 * value * s.yd + value**2 * s.dd, s.yy + value**2 * s.dd
        else:
            raw, scale = s.yy - s.y**2 / s.n, s.yy
        return np.asarray((raw > NOISE * scale) & (raw <= ROUNDING * scale))


def third_moment(s: SufficientStatistics) -> Array:
    """Σ (y − mean)³ of each arm."""
    with np.errstate(all="ignore"):
        mean = s.y / s.n
        return np.asarray(s.yyy - 3 * mean * s.yy + 2 * mean**2 * s.y)


def too_skewed(arms: SufficientStatistics) -> NDArray[np.bool_]:
    """Where the smaller of control (the first arm) and each treatment has fewer units than the skewness rule asks for.

    The skewness is that of both arms together, each around its own mean: a small arm seldom shows its own.
    """
    with np.errstate(all="ignore"):
        units = arms.n[1:] + arms.n[:1]
        squares, cubes = centred(arms.n, arms.y, arms.yy), third_moment(arms)
        variance = (squares[1:] + squares[:1]) / units
        skewness = (cubes[1:] + cubes[:1]) / units / variance**1.5
        return np.asarray(~(np.minimum(arms.n[1:], arms.n[:1]) >= SKEWNESS_RULE * skewness**2))


def centred(n: Array, total: Array, squares: Array) -> Array:
    """Σ (v − mean)² from n, Σ v and Σ v²; exactly 0 for a constant."""
    ss = squares - total**2 / n
    return np.where(ss <= ROUNDING * squares, 0.0, ss)


def centred_matrix(n: Array, total: Array, products: Array) -> Array:
    """Centred cross products from n, Σ v and Σ v v'; rows and columns of a constant are exactly 0."""
    ss = products - total[..., :, None] * total[..., None, :] / n[..., None, None]
    raw = np.diagonal(products, axis1=-2, axis2=-1)
    constant = np.diagonal(ss, axis1=-2, axis2=-1) <= ROUNDING * raw
    return np.where(constant[..., :, None] | constant[..., None, :], 0.0, ss)


def to_arm(n: Array, mean: Array, ss: Array) -> Arm:
    """An arm from its level and the centred sum of squares of its unit values, with n − 1."""
    with np.errstate(all="ignore"):
        variance = ss / (n - 1)
        return Arm(n=n, mean=mean, sd=np.sqrt(variance), var_mean=variance / n, df=n - 1)
