"""Everyone assigned beside those exposed: the complier effect, the exposed effect diluted to all users, and their gap.

`everyone` holds the sums of all assigned units, `exposed` those of the exposed among them, over one and the same
window; axis 0 is the arm, control first. A unit's exposure is to its own arm, so that control is never exposed to a
treatment, and the difference in exposure to it is the treatment arm's own share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from exp_platform.stats.ab import mean_arm, obstacles
from exp_platform.stats.arm import Base
from exp_platform.stats.effect import DEFAULT_ALPHA, DEFAULT_MIN_UNITS, Effect, compare
from exp_platform.stats.error import Error, larger
from exp_platform.stats.moments import centred, too_skewed
from exp_platform.stats.reasons import Reason
from exp_platform.stats.sufficient import Array, SufficientStatistics

FEW_EXPOSED = "few_exposed_units"


@dataclass(frozen=True, eq=False)
class Gap:
    """The ITT effect minus the diluted one, in the metric's unit; NaN is null."""

    difference: Array
    se: Array
    p_value: Array  # two-sided


def complier_effect(
    everyone: SufficientStatistics,
    exposed: SufficientStatistics,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """The ITT effect for each user whom the treatment reached, as the `effect_rel` of the result.

    It is the ratio of two correlated means, the ITT effect and the arm's exposed share; its interval is Fieller's.
    `per_exposed` moves the answer to the absolute columns.
    """
    arm, n = mean_arm(everyone), everyone.n[1:]
    with np.errstate(all="ignore"):
        rate = exposed.n[1:] / n
        variance = rate * (1 - rate) / (n - 1)
        together = _with_exposed_share(everyone, exposed)[1:]
    return compare(
        arm[:1],
        arm[1:],
        alpha=alpha,
        min_units=min_units,
        error=_ungrown(larger(arm[:1], arm[1:], too_skewed(everyone))),
        base=Base(rate, variance, together, n - 1),
        insufficient=[few_exposed(exposed, min_units), *obstacles(everyone)],
    )


def few_exposed(exposed: SufficientStatistics, min_units: int) -> Reason:
    """Where a treatment reached fewer users than an answer needs."""
    return exposed.n[1:] < max(min_units, 2), FEW_EXPOSED


def per_exposed(effect: Effect) -> Effect:
    """A complier effect in the metric's unit for each exposed user; there is no level that it is relative to."""
    nothing = np.full(effect.lead, np.nan)
    moved = {
        "effect_abs": effect.effect_rel,
        "se_abs": effect.se_rel,
        "effect_abs_ci_low": effect.effect_rel_ci_low,
        "effect_abs_ci_high": effect.effect_rel_ci_high,
        "anytime_ci_low": effect.anytime_rel_ci_low,
        "anytime_ci_high": effect.anytime_rel_ci_high,
        "anytime_p_value": effect.anytime_p_value_rel,
        "mde": effect.mde_rel,
    }
    relative = ("effect_rel", "se_rel", "effect_rel_ci_low", "effect_rel_ci_high", "p_value_rel", "mde_rel")
    sequence = ("anytime_rel_ci_low", "anytime_rel_ci_high", "anytime_p_value_rel")
    return replace(effect, **moved, **dict.fromkeys((*relative, *sequence), nothing))


def diluted_effect(
    everyone: SufficientStatistics,
    exposed: SufficientStatistics,
    *,
    alpha: float = DEFAULT_ALPHA,
    min_units: int = DEFAULT_MIN_UNITS,
) -> Effect:
    """The exposed effect times the exposed share of both arms: the effect on all users if the others have none.

    It is relative to the mean of all of control's users, as the ITT effect is.
    """
    arm, some = mean_arm(everyone), mean_arm(exposed)
    rate, rate_variance = _share(everyone, exposed)
    own = larger(some[:1], some[1:], too_skewed(exposed))
    with np.errstate(all="ignore"):
        effect = some.mean[1:] - some.mean[:1]
        variance = rate**2 * own.variance + effect**2 * rate_variance
        # The mean of control's users moves with the level of its exposed ones, and with their share.
        squares = centred(exposed.n, exposed.y, exposed.yy)[:1]
        of_share = _with_exposed_share(everyone, exposed)[:1] * everyone.n[:1] / (everyone.n[1:] + everyone.n[:1])
        together = effect * of_share - rate * squares / (exposed.n[:1] * everyone.n[:1])
        diluted = rate * effect
    return compare(
        some[:1],
        some[1:],
        effect_abs=diluted,
        alpha=alpha,
        min_units=min_units,
        error=Error(variance, own.df, np.ones_like(variance)),
        base=Base(*np.broadcast_arrays(arm.mean[:1], arm.var_mean[:1], together, arm.df[:1])),
        insufficient=obstacles(exposed),
    )


def gap(everyone: SufficientStatistics, exposed: SufficientStatistics) -> Gap:
    """How far the ITT effect is from the diluted one: they differ by what the unexposed add, and by unlike exposure.

    Both come from the same users and move together: the error is that of their difference, from the squares of each
    user's influence on it. NaN where an arm has no exposed users, or where they do not differ.
    """
    rate, _ = _share(everyone, exposed)
    with np.errstate(all="ignore"):
        mean, level = everyone.y / everyone.n, exposed.y / exposed.n
        effect = level[1:] - level[:1]
        difference = mean[1:] - mean[:1] - rate * effect
        total = everyone.n[1:] + everyone.n[:1]
        variance = sum(
            _influence(everyone[side], exposed[side], rate, sign * everyone.n[side] / total * effect)
            for side, sign in ((slice(1, None), 1.0), (slice(None, 1), -1.0))
        )
        se = np.sqrt(variance)
        # With everyone exposed the two are one number, and what is left is rounding.
        z = np.where(se > 1e-9 * np.abs(effect), difference / se, np.nan)
    known = np.isfinite(z)
    p_value = np.where(known, 2 * special.ndtr(-np.abs(z)), np.nan)
    return Gap(np.where(known, difference, np.nan), np.where(known, se, np.nan), p_value)


def _with_exposed_share(everyone: SufficientStatistics, exposed: SufficientStatistics) -> Array:
    """Sampling covariance of each arm's mean with its own exposed share."""
    n = everyone.n
    return np.asarray((exposed.y - exposed.n * everyone.y / n) / (n * (n - 1)))


def _share(everyone: SufficientStatistics, exposed: SufficientStatistics) -> tuple[Array, Array]:
    """Exposed share of control and of each treatment together, with its sampling variance."""
    with np.errstate(all="ignore"):
        total = everyone.n[1:] + everyone.n[:1]
        own = exposed.n / everyone.n
        part = everyone.n * own * (1 - own)
        return (exposed.n[1:] + exposed.n[:1]) / total, (part[1:] + part[:1]) / total**2


def _influence(everyone: SufficientStatistics, exposed: SufficientStatistics, rate: Array, shift: Array) -> Array:
    """Variance of one arm's part of the gap, that is of the mean of u = y − a · D · (y − level) − shift · D.

    D is 1 for an exposed user, and a the share of both arms over the arm's own.
    """
    with np.errstate(all="ignore"):
        a, level = rate / (exposed.n / everyone.n), exposed.y / exposed.n
        constant = a * level - shift
        total = everyone.y - exposed.y + (1 - a) * exposed.y + constant * exposed.n
        squares = everyone.yy - exposed.yy
        squares = squares + (1 - a) ** 2 * exposed.yy + 2 * (1 - a) * constant * exposed.y + constant**2 * exposed.n
        ss = centred(everyone.n, total, squares)
        return np.asarray(ss / (everyone.n - 1) / everyone.n)


def _ungrown(error: Error) -> Error:
    """An error whose base is not control's level, so that nothing of it grows with control's part."""
    return replace(error, control_growth=np.ones_like(error.variance))
