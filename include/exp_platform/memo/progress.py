"""How far an experiment is: the precision reached, and the users and days that a decision still needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exp_platform.memo.effect_words import threshold_text
from exp_platform.memo.figures import Unit, times
from exp_platform.memo.published import Source
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.series_points import UnitsSeries

Row = Mapping[str, Any]
POSSIBLE_WITHIN = 3650  # days beyond which a wait is no plan


@dataclass(frozen=True)
class Progress:
    """One arm's way to seeing the practical threshold with 80% power; sizes are on the scale that decides."""

    arm: str
    can_see: float | None  # smallest effect found with 80% power now
    asks_for: float | None  # practical threshold; None where the contract has none
    users: int  # analysed, of both arms
    factor: float | None  # users needed / users now
    days: tuple[int, int] | None  # further days until then at the arrival so far, an interval; None: no arrival
    days_left: int  # of enrolment

    @property
    def share(self) -> float | None:
        """Share of the needed precision that is reached, at most 1."""
        return share_of(self.factor)

    @property
    def within_plan(self) -> bool:
        """True where the users come before enrolment ends, at the slow end of the arrival."""
        return self.days is not None and self.days[1] <= self.days_left


def progress_of(row: Row, plan: AnalysisPlan, units: UnitsSeries | None) -> Progress | None:
    """The progress of one arm from its deciding row; None where the row has no MDE."""
    mde = mde_of(row)
    if mde is None:
        return None
    threshold = row["practical_threshold"] or None
    users = int((row["control_n"] or 0) + (row["treatment_n"] or 0))
    factor = factor_of(row)
    more = users * (factor - 1) if factor is not None else None
    end = plan.experiment.end_ts
    left = max(0, math.ceil((end - plan.cutoff).total_seconds() / 86_400))
    return Progress(row["arm"], mde, threshold, users, factor, _days(more, users, plan, units), left)


def mde_of(row: Row) -> float | None:
    """The smallest effect that is found with 80% power now, on the scale that decides; None where nobody knows."""
    mde: float | None = row["mde"]
    if mde is not None and row["scale"] == "relative":
        return mde / abs(row["control_mean"]) if row["control_mean"] else None
    return mde


def factor_of(row: Row) -> float | None:
    """Users needed to see the practical threshold over those there are; None without either size."""
    mde, threshold = mde_of(row), row["practical_threshold"] or None
    return None if mde is None or threshold is None else (mde / threshold) ** 2


def share_of(factor: float | None) -> float | None:
    """Share of the needed precision that is reached, at most 1."""
    return None if factor is None else min(1.0, 1 / factor) if factor > 0 else 1.0


def ways_of(source: Source) -> dict[str, Progress]:
    """Arm -> its progress, for the arms with an answer on the primary metric."""
    found = {}
    for arm in source.facts["answer"]["arms"]:
        way = progress_of(arm["primary"], source.plan, source.published.units) if arm["primary"] else None
        if way is not None:
            found[arm["arm"]] = way
    return found


def can_see(row: Row, progress: Progress) -> str:
    """The sentence on precision: `can see 4.7 points, you care about 0.5: needs 86 times the users`."""
    unit = Unit.of(row)
    if progress.can_see is None:
        return ""
    seen = unit.change(progress.can_see, unit.decimals(progress.can_see), sign=False)
    if progress.asks_for is None:
        return f"Can see {seen}; the contract does not say from which size a change matters"
    asked = threshold_text(progress.asks_for, unit).removesuffix(" points")
    if progress.factor is not None and progress.factor > 1:
        return f"Can see {seen}, you care about {asked}: needs {times(progress.factor)} the users"
    return f"Can see {seen}, you care about {asked}: precise enough"


def wait(progress: Progress) -> str:
    """The days to a decision in words, and whether they lie within the plan; empty where nothing is known."""
    if progress.factor is None or progress.factor <= 1:
        return ""
    if progress.days is None:
        return "nobody arrives, so no day can be named"
    low, high = progress.days
    if low > POSSIBLE_WITHIN:
        return "not within the plan, nor within ten years at the arrival so far"
    span = f"about {low}" if low == high else f"about {low:,} to {high:,}"
    if progress.within_plan:
        return f"{span} more days at the arrival so far"
    left = f"{progress.days_left} days of enrolment are left" if progress.days_left else "enrolment has ended"
    return f"not within the plan: it would take {span} more days at the arrival so far, and {left}"


def _days(more: float | None, users: int, plan: AnalysisPlan, units: UnitsSeries | None) -> tuple[int, int] | None:
    """Further days until so many more users: between the fast and the slow end of the arrival, two errors wide."""
    if more is None:
        return None
    seen_until = min(plan.cutoff, plan.experiment.end_ts)
    days = (seen_until - plan.experiment.start_ts).total_seconds() / 86_400
    if days <= 0 or users <= 0:
        return None
    rate, error = users / days, 2 * _error_of_rate(_daily(units))
    slow, fast = rate * max(1 - error, 0.05), rate * (1 + error)
    return math.ceil(max(0.0, more) / fast), math.ceil(max(0.0, more) / slow)


def _daily(units: UnitsSeries | None) -> Sequence[int]:
    """Units of all arms by day; the last day may be cut and the first too, so that both are left out."""
    by_day: dict[Any, int] = {}
    for point in units.points if units else ():
        by_day[point.day] = by_day.get(point.day, 0) + point.new
    return [by_day[day] for day in sorted(by_day)][1:-1]


def _error_of_rate(daily: Sequence[int]) -> float:
    """Relative standard error of the mean of a day's arrivals; 0 where fewer than three days are known."""
    if len(daily) < 3 or not sum(daily):
        return 0.0
    counts = np.asarray(daily, dtype=float)
    return float(counts.std(ddof=1) / counts.mean() / math.sqrt(len(daily)))
