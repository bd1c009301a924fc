"""The records of what a memo shows over time: effects by as-of day, units by day, quality by day, effects by age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from exp_platform.results.plan import Interval

Scale = Literal["absolute", "relative"]


@dataclass(frozen=True)
class EffectPoint:
    """The effect of one arm on one metric as of the end of one day, on the metric's decision scale.

    Absolute numbers are in the metric's unit, relative ones are fractions (0.02 is +2%). A number is None where the
    day has no answer; `status` and `reason` say why, in the words of exp.analysis_results.
    """

    as_of: date
    effect: float | None
    low: float | None  # ends of the fixed-horizon interval
    high: float | None
    anytime_low: float | None  # ends of the anytime-valid interval
    anytime_high: float | None
    in_force: Interval  # the interval that decides on this day
    control_n: int  # units with a value
    treatment_n: int
    control_mean: float | None
    treatment_mean: float | None
    status: str
    reason: str
    differs: tuple[str, ...] = ()  # words for why a run of that day may have said something else; empty: the last bit
    p_value: float | None = None  # of the fixed-horizon interval
    anytime_p_value: float | None = None

    @property
    def p_in_force(self) -> float | None:
        """The p that decides on this day."""
        return self.anytime_p_value if self.in_force == "anytime" else self.p_value

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The ends of the interval that decides on this day."""
        if self.in_force == "anytime":
            return self.anytime_low, self.anytime_high
        return self.low, self.high


@dataclass(frozen=True)
class EffectSeries:
    """The effect of one arm on one metric on every day since the start; `no_series` says why there is no point."""

    metric_name: str
    variant_id: str
    method: str  # the deciding method: ab, cuped or did
    scale: Scale
    threshold: float | None  # the practical threshold on this scale, None where the contract has none
    margin: (
        float | None
    )  # the change in the bad direction that a guardrail allows, with its sign; None: on no or another scale
    points: tuple[EffectPoint, ...]
    cleared_zero: date | None  # first day on which the interval in force excluded 0
    cleared_threshold: date | None  # first day on which it lay wholly beyond the threshold, in the good direction
    no_series: str = ""

    @property
    def differs(self) -> tuple[str, ...]:
        """Words for why some of the days may differ from their runs, each once."""
        return tuple(dict.fromkeys(word for point in self.points for word in point.differs))


@dataclass(frozen=True)
class UnitsPoint:
    """Units of one arm on one day."""

    day: date
    variant_id: str
    new: int  # units of this day
    total: int  # units up to the end of this day
    expected: float | None  # of `total`, by the promised shares; None where none is promised


@dataclass(frozen=True)
class SampleRatioPoint:
    """The sample-ratio test as of the end of one day."""

    day: date
    p_value: float  # sequential: the smallest so far, as the gate reads it
    failed: bool


@dataclass(frozen=True)
class UnitsSeries:
    """Units of every arm by day, and the sample ratio beside them."""

    points: tuple[UnitsPoint, ...]
    sample_ratio: tuple[SampleRatioPoint, ...]  # empty for a rollout, which promises no ratio
    failed_since: date | None  # first day on which the sample ratio failed


@dataclass(frozen=True)
class QualityPoint:
    """The verdict of one check of exposure quality on one day."""

    day: date
    observed: float | None  # the day's rate, a fraction; for outcome_volume a number of events
    expected: float | None
    threshold: float | None
    p_value: float | None
    status: str  # ok, warn or fail
    detail: str


@dataclass(frozen=True)
class QualitySeries:
    """One check of exposure quality by day."""

    check_name: str
    points: tuple[QualityPoint, ...]

    @property
    def failed(self) -> tuple[date, ...]:
        """The days on which the check failed."""
        return tuple(point.day for point in self.points if point.status == "fail")


@dataclass(frozen=True)
class AgePoint:
    """The effect on the units of one cohort date, which have been exposed for so many days."""

    cohort_date: date
    days: float  # since exposure, on average, at most the metric's window
    effect: float | None  # absolute; per day for metrics that add up over days
    low: float | None
    high: float | None
    status: str


@dataclass(frozen=True)
class AgeSeries:
    """The effect of one arm on one metric by days since exposure, the newest cohort first."""

    metric_name: str
    variant_id: str
    per_day: bool  # True: effects are divided by the days, so that long and short exposure can be compared
    points: tuple[AgePoint, ...]
