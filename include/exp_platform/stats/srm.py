"""Sample ratio mismatch: did the arms get the share of units that they were promised?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import SRM_DOUBTS_BELOW, SRM_FAILS_BELOW, speaks
from exp_platform.status import CheckStatus

# Weight of the promised shares in the alternative, in units: expects a mismatch of a few points, yet is not far from
# the best choice for one half or ten times as large.
CONCENTRATION = 100.0


@dataclass(frozen=True, eq=False)
class SrmResult:
    """Both tests on the counts of the arms that were promised units; arrays in the order of `arms`."""

    arms: tuple[int, ...]  # positions of the arms with an allocation above 0
    observed: Array  # units
    expected: Array  # units
    sequential_p: float  # smallest over the days so far: the gate
    sequential_p_by_day: Array  # running minimum after each day
    first_crossing: int | None  # position of the first day on which sequential_p was below the threshold
    chi_square: float
    p_value: float  # fixed-sample chi-square: valid for one look only, which is that at the planned end
    status: CheckStatus  # of sequential_p
    final_status: CheckStatus  # of the chi-square, if this look is the one at the planned end


@dataclass(frozen=True, eq=False)
class SrmLocalisation:
    """Chi-square in each day or segment, for finding the cause; never gates."""

    statistic: Array
    p_value: Array  # NaN where a group has no units
    p_value_adjusted: Array  # Holm over the groups


def srm_test(counts_by_day: Any, allocation: Any, concentration: float = CONCENTRATION) -> SrmResult:
    """Test units per day (rows, ascending) and arm (columns) against the promised allocation.

    The sequential p is 1 / Bayes factor of Dirichlet–multinomial counts around the promised shares: it may be looked
    at every day, and the chance that it ever falls below a threshold without a mismatch is at most that. Arms with
    allocation 0 are left out; no units at all is no evidence (p = 1).
    """
    arms, counts, shares = _promised(counts_by_day, allocation)
    total = counts.sum(axis=0)
    statistic, p_value = chi_square(total, shares)
    running = sequential_p(counts, shares, concentration)
    crossed = np.flatnonzero(running < SRM_FAILS_BELOW)
    smallest = float(running[-1]) if len(running) else 1.0
    fixed = 1.0 if np.isnan(p_value) else float(p_value)
    return SrmResult(
        arms=arms,
        observed=total,
        expected=total.sum() * shares,
        sequential_p=smallest,
        sequential_p_by_day=running,
        first_crossing=int(crossed[0]) if len(crossed) else None,
        chi_square=float(np.nan_to_num(statistic)),
        p_value=fixed,
        status=speaks(smallest, CheckStatus.FAIL, SRM_FAILS_BELOW),
        final_status=_final(fixed),
    )


def localise_srm(counts: Any, allocation: Any) -> SrmLocalisation:
    """Chi-square of each group (rows: days or segment values) against the allocation, Holm-adjusted."""
    _, observed, shares = _promised(counts, allocation)
    statistic, p_value = chi_square(observed, shares)
    return SrmLocalisation(statistic, p_value, holm(p_value))


def sequential_p(counts_by_day: Array, shares: Array, concentration: float = CONCENTRATION) -> Array:
    """Running minimum of 1 / Bayes factor over days; axes (…, day, arm) to (…, day)."""
    n = np.cumsum(counts_by_day, axis=-2)
    prior = concentration * shares
    log_bayes = (
        special.gammaln(concentration)
        - special.gammaln(concentration + n.sum(axis=-1))
        + (special.gammaln(prior + n) - special.gammaln(prior)).sum(axis=-1)
        - (n * np.log(shares)).sum(axis=-1)
    )
    return np.asarray(np.minimum.accumulate(np.exp(np.minimum(-log_bayes, 0.0)), axis=-1))


def chi_square(observed: Array, shares: Array) -> tuple[Array, Array]:
    """Pearson's chi-square and its p over the last axis; NaN where there are no units."""
    with np.errstate(all="ignore"):
        expected = observed.sum(axis=-1, keepdims=True) * shares
        statistic = ((observed - expected) ** 2 / expected).sum(axis=-1)
    return statistic, np.asarray(special.chdtrc(len(shares) - 1, statistic))


def _final(p_value: float) -> CheckStatus:
    failed = speaks(p_value, CheckStatus.FAIL, SRM_FAILS_BELOW)
    return failed if failed is CheckStatus.FAIL else speaks(p_value, CheckStatus.WARN, SRM_DOUBTS_BELOW)


def _promised(counts: Any, allocation: Any) -> tuple[tuple[int, ...], Array, Array]:
    share = np.asarray(allocation, dtype=float)
    keep = np.flatnonzero(share > 0)
    table = np.asarray(counts, dtype=float).reshape(-1, len(share))
    return tuple(keep.tolist()), table[:, keep], share[keep] / share[keep].sum()
