"""A rate that a simulation found, the rate that was promised, and the Monte-Carlo band around the promise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

UNMEASURED = "not measured"
Z_BAND = 3.29  # two-sided 99.9%, so that dozens of honest rows stay inside together


class Promise(StrEnum):
    """How the observed rate must stand to the target."""

    EQUALS = "equals"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    EXCEEDS = "must exceed"  # the method is shown to fail
    REPORTED = "reported"  # no promise: the figure is stated


@dataclass(frozen=True)
class Measured:
    """One row of the calibration page."""

    study: str
    case: str
    promise: Promise
    target: float
    rate: float
    simulations: int
    allowance: float = 0.0  # known departure from the target that is accepted (asymptotics at this n)
    # Rate of an earlier version of the engine where it broke this promise, or a word on it; beside such a row the one
    # of another split has `UNMEASURED`.
    before: float | str | None = None

    @property
    def band(self) -> float:
        """Half-width of the Monte-Carlo band around the target."""
        return Z_BAND * float(np.sqrt(self.target * (1 - self.target) / max(self.simulations, 1))) + self.allowance

    @property
    def kept(self) -> bool:
        """True when the promise stands within Monte-Carlo error."""
        low, high = self.target - self.band, self.target + self.band
        return {
            Promise.EQUALS: low <= self.rate <= high,
            Promise.AT_MOST: self.rate <= high,
            Promise.AT_LEAST: self.rate >= low,
            Promise.EXCEEDS: self.rate > high,
            Promise.REPORTED: True,
        }[self.promise]


def finding(study: str, case: str, promise: Promise, target: float, hits: Any, **options: Any) -> Measured:
    """A finding from an array of outcomes, one boolean per simulated experiment."""
    outcomes = np.asarray(hits, dtype=bool).ravel()
    return Measured(study, case, promise, target, float(outcomes.mean()), len(outcomes), **options)
