"""Where difference-in-differences has no answer: units, events or denominators that one of its two periods lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exp_platform.stats.ab import MIN_EVENTS
from exp_platform.stats.effect import TOO_FEW_EVENTS, Reason
from exp_platform.stats.ratio import ZERO_DENOMINATOR
from exp_platform.stats.sufficient import Array, SufficientStatistics

NO_EVENTS_AFTER = "no_events_after"
NO_EVENTS_BEFORE = "no_events_before"
NOT_SEEN_TWICE = "no_unit_before_and_after"


@dataclass(frozen=True, eq=False)
class _Units:
    """Sums over one arm's units, named as in `SufficientStatistics`."""

    n: Array
    did_n: Array
    did_v: Array
    did_vv: Array


def lacking(arms: SufficientStatistics, weight: Array, *, ratio: bool, binary: bool) -> list[Reason]:
    """Where the mature units lack what the metric needs; axis 1 of `arms` is the cohort date, of which `weight` tells.

    Each arm needs an event in both periods: without one the effect is minus the difference of the other period, which
    was once shipped. Values that are all 0 count as no event. A ratio needs something to divide by in both periods. A
    binary metric needs 10 units with, and 10 without, the event in the smaller arm, if both arms had the same share.
    """
    control, treatment = totals = _totals(arms, weight)
    before = 2 if ratio else 1  # place of the value before among the sums
    reasons: list[Reason] = [
        (_either([(side.did_n == 0) & (side.n > 0) for side in totals]), NOT_SEEN_TWICE),
        (_either([_no_events(side, 0) for side in totals]), NO_EVENTS_AFTER),
        (_either([_no_events(side, before) for side in totals]), NO_EVENTS_BEFORE),
    ]
    if ratio:
        empty = [(side.did_n > 0) & (side.did_v[..., [1, 3]] == 0).any(axis=-1) for side in totals]
        reasons.append((_either(empty), ZERO_DENOMINATOR))
    if binary:
        with np.errstate(all="ignore"):
            share = (control.did_v[..., 0] + treatment.did_v[..., 0]) / (control.did_n + treatment.did_n)
        rarer = np.minimum(share, 1 - share) * np.minimum(control.did_n, treatment.did_n)
        reasons.append((rarer < MIN_EVENTS, TOO_FEW_EVENTS))
    return reasons


def _totals(arms: SufficientStatistics, weight: Array) -> tuple[_Units, _Units]:
    """Control and treatment over the cohort dates that count; where none does, over all of them."""
    used = (weight > 0) | ~(weight > 0).any(axis=1, keepdims=True)

    def over_dates(value: Array) -> Array:
        mask = used.reshape(used.shape + (1,) * (value.ndim - used.ndim))
        with np.errstate(all="ignore"):  # sums that are infinite are an answer that `compare` refuses
            return np.asarray(np.where(mask, value, 0.0).sum(axis=1))

    control, treatment = (
        _Units(*(over_dates(value) for value in (side.n, side.did_n, side.did_v, side.did_vv)))
        for side in (arms[:1], arms[1:])
    )
    return control, treatment


def _no_events(side: _Units, place: int) -> NDArray[np.bool_]:
    return np.asarray((side.did_n > 0) & (side.did_v[..., place] == 0) & (side.did_vv[..., place, place] == 0))


def _either(sides: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return sides[0] | sides[1]
