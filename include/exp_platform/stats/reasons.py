"""Why an element has no answer, or has one with a reservation: words, and where they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BELOW_MIN_UNITS = "arm_below_min_units"
NO_VARIANCE = "no_variance"
BEYOND_PRECISION = "spread_beyond_precision"
NOT_FINITE = "not_finite"
BASE_NEAR_ZERO = "control_mean_near_zero"
TOO_FEW_EVENTS = "too_few_events"

Reason = tuple[Any, str]  # where it holds (broadcastable mask), the word


def join_reasons(reasons: Sequence[Reason], shape: tuple[int, ...]) -> NDArray[Any]:
    """Words of all reasons that hold, joined by ", ", for each element."""
    code = np.zeros(shape, dtype=np.int64)
    for bit, (mask, _) in enumerate(reasons):
        code = code + (np.broadcast_to(np.asarray(mask, dtype=bool), shape).astype(np.int64) << bit)
    seen, where = np.unique(code, return_inverse=True)
    words = [", ".join(word for bit, (_, word) in enumerate(reasons) if value >> bit & 1) for value in seen.tolist()]
    return np.array(words, dtype=object)[where].reshape(shape)


def any_of(reasons: Sequence[Reason]) -> NDArray[np.bool_]:
    """Where at least one reason holds."""
    masks = [np.asarray(mask, dtype=bool) for mask, _ in reasons]
    return np.asarray(np.any(np.broadcast_arrays(*masks), axis=0) if masks else False)
