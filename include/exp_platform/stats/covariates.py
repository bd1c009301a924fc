"""CUPED with several sources of covariates: a source is used where it pays for itself, and its gain is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.arm import Arm
from exp_platform.stats.cuped import COLLINEAR, adjusted_arm, cuped_effect, pooled_theta, weighted
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect
from exp_platform.stats.error import welch
from exp_platform.stats.moments import ROUNDING, Linear, linearise, to_arm
from exp_platform.stats.ratio import carried
from exp_platform.stats.reasons import Reason
from exp_platform.stats.sufficient import Array, SufficientStatistics

CONSTANT = "covariate_constant"
REPEATS = "covariate_repeats_others"
NO_GAIN = "covariate_without_gain"
MIN_STRATUM = 20  # units in each arm from which a value of a dimension is a stratum of its own


@dataclass(frozen=True)
class Source:
    """Covariates that are used together or not at all, by their positions."""

    name: str
    columns: tuple[int, ...]
    known: NDArray[np.bool_] | None = None  # the elements that have them; None: all. Others give no reason


@dataclass(frozen=True, eq=False)
class Adjusted:
    """The effect, and for each source the share of the plain variance that it takes away beyond those before it.

    A gain is NaN where its source is not used; the effect's reasons then say why. All gains of an element add up to
    the effect's variance reduction.
    """

    effect: Effect
    gains: dict[str, Array]


def adjusted_effect(
    arms: SufficientStatistics,
    sources: Sequence[Source],
    *,
    ratio: bool = False,
    binary: bool = False,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
    with_denominator: Array | None = None,
) -> Adjusted:
    """Covariate-adjusted effect of each treatment against control; the first source is always used, as CUPED does.

    Every further source is tried in order. It is used where it lowers the sum of the arms' variances by more than its
    coefficients cost, which are estimated from the units that they adjust; a source that is constant, or that the ones
    before it determine, is left out.
    """
    linear = linearise(arms, ratio=ratio)
    used = np.zeros((*linear.n.shape[1:], arms.k), dtype=bool)
    used[..., list(sources[0].columns)] = True
    first = rank = _rank(linear, used)
    cost = np.ones(rank.shape)
    least = _variance(linear, used)
    left = [np.ones(arms.n[1:].shape), _left(linear, used, cost, arms, ratio, with_denominator)]
    kept = [np.ones(rank.shape, dtype=bool)]
    notes: list[Reason] = []
    for source in sources[1:]:
        more = used.copy()
        more[..., list(source.columns)] = True
        more_rank = _rank(linear, more)
        more_cost = _cost(linear, more_rank - first)
        variance = _variance(linear, more) * more_cost
        varies, adds = _rank(linear, more & ~used) > 0, more_rank > rank
        with np.errstate(all="ignore"):
            keep = adds & (variance < least * (1 - ROUNDING))
        known = np.ones(1, dtype=bool) if source.known is None else source.known
        notes += [
            (known & ~varies, f"{CONSTANT}:{source.name}"),
            (known & varies & ~adds, f"{REPEATS}:{source.name}"),
            (known & adds & ~keep, f"{NO_GAIN}:{source.name}"),
        ]
        used = np.where(keep[..., None], more, used)
        rank, cost, least = (
            np.where(keep, new, old) for new, old in ((more_rank, rank), (more_cost, cost), (variance, least))
        )
        kept.append(keep)
        left.append(_left(linear, used, cost, arms, ratio, with_denominator))
    effect = cuped_effect(
        arms,
        ratio=ratio,
        binary=binary,
        alpha=alpha,
        min_units=min_units,
        with_denominator=with_denominator,
        used=used,
        cost=cost,
        notes=notes,
    )
    gains = {
        source.name: np.where(effect.ok & kept[i], left[i] - left[i + 1], np.nan) for i, source in enumerate(sources)
    }
    return Adjusted(effect, gains)


def with_strata(arms: SufficientStatistics, strata: SufficientStatistics) -> SufficientStatistics:
    """The arms with one more covariate for each stratum: 1 for its units, else 0. Regression on them post-stratifies.

    `arms` has the lead (arm, …), `strata` (arm, …, stratum); the strata do not overlap. One with fewer than 20 units in
    an arm that has any is left to the units without a stratum: its covariate is 0 throughout.
    """
    populated = (arms.n > 0)[..., None]
    smallest = np.where(populated, strata.n, np.inf).min(axis=0)
    counts = np.isfinite(smallest) & (smallest >= MIN_STRATUM)
    n, y, d = (np.where(counts, value, 0.0) for value in (strata.n, strata.y, strata.d))
    x = np.where(counts[..., None], strata.x, 0.0)
    within = n[..., None] * np.eye(n.shape[-1])
    upper = np.concatenate([arms.xx, np.swapaxes(x, -1, -2)], axis=-1)
    lower = np.concatenate([x, within], axis=-1)
    return replace(
        arms,
        x=np.concatenate([arms.x, n], axis=-1),
        xx=np.concatenate([upper, lower], axis=-2),
        xy=np.concatenate([arms.xy, y], axis=-1),
        dx=np.concatenate([arms.dx, d], axis=-1),
    )


def widened(arms: SufficientStatistics, more: int) -> SufficientStatistics:
    """The arms with so many more covariates that are 0 throughout."""
    nothing = SufficientStatistics.zeros((*arms.lead, more), arms.k)
    return with_strata(arms, nothing)


def put(into: SufficientStatistics, index: object, part: SufficientStatistics) -> SufficientStatistics:
    """Replace some elements of the leading axes."""
    columns = {}
    for f in fields(SufficientStatistics):
        column = getattr(into, f.name).copy()
        column[index] = getattr(part, f.name)
        columns[f.name] = column
    return SufficientStatistics(**columns)


def _rank(linear: Linear, used: NDArray[np.bool_]) -> Array:
    """How many of the used covariates are not determined by the others."""
    ss_xx, _ = weighted(linear)
    scale = np.sqrt(np.diagonal(ss_xx, axis1=-2, axis2=-1))
    varies = np.isfinite(scale) & (scale > 0) & used
    safe = np.where(varies, scale, 1.0)
    both = varies[..., :, None] & varies[..., None, :]
    correlation = np.where(both, ss_xx, 0.0) / (safe[..., :, None] * safe[..., None, :])
    values = np.linalg.eigvalsh(np.where(np.isfinite(correlation), correlation, 0.0))
    return np.asarray((values > COLLINEAR * values.max(axis=-1, initial=0.0)[..., None]).sum(axis=-1), dtype=float)


def _cost(linear: Linear, more: Array) -> Array:
    """The factor by which the variance grows for `more` coefficients that are estimated from the units themselves.

    A coefficient takes 1 / N from the variance that is seen, and adds 1 / N to the one that is not; N are the units of
    all arms, each by its weight in the error: (Σ 1 / n)² / Σ 1 / n³, which is their sum where arms are equal.
    """
    with np.errstate(all="ignore"):
        each = np.where(linear.n > 1, 1 / linear.n, 0.0)
        units = each.sum(axis=0) ** 2 / (each**3).sum(axis=0)
        return np.where(more <= 0, 1.0, np.where(units > more, (units / (units - more)) ** 2, np.inf))


def _variance(linear: Linear, used: NDArray[np.bool_]) -> Array:
    """Sum of the arms' variances after the adjustment."""
    arm = adjusted_arm(linear, pooled_theta(linear, used).value)
    return np.asarray(np.where(np.isfinite(arm.var_mean), arm.var_mean, 0.0).sum(axis=0))


def _left(
    linear: Linear,
    used: NDArray[np.bool_],
    cost: Array,
    arms: SufficientStatistics,
    ratio: bool,
    with_denominator: Array | None,
) -> Array:
    """Share of each comparison's plain variance that the adjustment leaves."""
    plain, arm = to_arm(linear.n, linear.mean, linear.ss), adjusted_arm(linear, pooled_theta(linear, used).value)
    arm = replace(arm, var_mean=arm.var_mean * cost)
    if ratio:
        plain, arm = (carried(side, arms, with_denominator) for side in (plain, arm))
    with np.errstate(all="ignore"):
        return np.asarray(_difference(arm) / _difference(plain))


def _difference(arm: Arm) -> Array:
    return welch(arm[:1], arm[1:]).variance
