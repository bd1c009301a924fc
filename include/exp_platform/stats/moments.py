"""Centred sums of an arm: the only place where a sum of squares becomes a spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exp_platform.stats.effect import Arm
from exp_platform.stats.sufficient import Array, SufficientStatistics

# Below this share of the raw sum of squares a centred one is rounding, not spread (coefficient of variation 1e-6).
ROUNDING = 1e-12


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
