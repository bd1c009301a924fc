"""J2's verdicts: did assignment and exposure logging work on each date? Computed from counts, without tables or Spark.

Each date's rate is compared with up to three other rates, and one failed comparison is enough:

1. the other settled dates that have not failed, pooled (at least `min_baseline_days` of them);
2. within the date, each variant with the other variants, pooled: a fault in one arm alone shows here, on however many
   dates it happens;
3. for flags, the ceiling: a fault on every date and in every arm shows only against a fixed rate.

Comparisons 1 and 2 use the exact hypergeometric test of two proportions (Fisher's, one-sided in the bad direction):
flags are rare, often 0 against a handful, where a z test is far too eager; and the baseline is itself a sample, which a
binomial test against its rate would ignore. Comparison 3 has a known rate, so it is the exact binomial test. Every
p-value is multiplied by the number of dates looked at (and in 2 by the number of variants). A comparison fails when
that p is below `p_value` *and* the change matters: exposure 10 % lower, a flag 1 point above its baseline or above the
ceiling. Dates fail one at a time, the clearest first, and a failed date is left out of the other dates' baseline.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import scipy  # loads scipy.stats where it is first used: most stages and tasks never do

from exp_platform.config.models import QualitySettings
from exp_platform.status import CheckStatus

OF_ASSIGNMENTS = "conflicted_assignment"  # the one check that no exposure can turn
Counts = tuple[int, int]  # users with the flag or exposure, all users


@dataclass(frozen=True)
class Verdict:
    """One check of one date: rates are shares of users (outcome_volume: events), p is adjusted for the dates."""

    date: date
    check_name: str
    observed: float | None
    expected: float | None
    threshold: float | None
    p_value: float | None
    status: CheckStatus
    detail: str


@dataclass(frozen=True)
class Check:
    """A rate of the daily quality table, and the direction in which it is bad."""

    name: str
    count: str
    base: str
    what: str
    bad_when_low: bool = False


CHECKS = (
    Check("exposure_logging", "any_exposure", "assigned", "assigned users have an exposure", bad_when_low=True),
    Check("pre_assignment_exposure", "judged_pre_assignment_exposure", "assigned", "were exposed before assignment"),
    Check("variant_mismatch", "judged_variant_mismatch", "assigned", "were exposed to another variant"),
    Check(
        "multi_variation_exposure", "judged_multi_variation_exposure", "assigned", "were exposed to several variants"
    ),
    Check(
        "exposure_outside_window", "judged_exposure_outside_window", "assigned", "were exposed only outside the window"
    ),
    Check(
        OF_ASSIGNMENTS,
        "conflicted_assignment_count",
        "canonical_assignments",
        "were assigned several variants",
    ),
)


@dataclass(frozen=True)
class Comparison:
    """One rate compared with an expected rate; p is one-sided and adjusted."""

    observed: float
    users: int
    expected: float
    threshold: float
    p_value: float
    fails: bool
    who: str
    against: str

    @property
    def clearness(self) -> tuple[float, float]:
        """Sort key, the clearest failure first: by p, then by the difference, as p may be 0 for several."""
        return self.p_value, -abs(self.observed - self.expected)


@dataclass(frozen=True)
class Judge:
    """One check on the settled dates of one experiment: date -> variant -> counts."""

    check: Check
    cells: Mapping[date, Mapping[str, Counts]]
    settings: QualitySettings

    def verdicts(self) -> list[Verdict]:
        """The verdict of the check on each date."""
        alone = {day: self._within_date(day) for day in self.cells}
        failed = {day for day, found in alone.items() if any(c.fails for c in found)}
        while True:
            against = {day: self._against_other_dates(day, failed) for day in self.cells}
            newly = {day: c for day, c in against.items() if c is not None and c.fails and day not in failed}
            if not newly:
                break
            failed.add(min(newly, key=lambda day: (newly[day].clearness, day)))
        return [
            self._verdict(day, [c for c in (against[day], *alone[day]) if c is not None], day in failed)
            for day in sorted(self.cells)
        ]

    def _pooled(self, days: Sequence[date]) -> Counts:
        counts = [c for day in days for c in self.cells[day].values()]
        return sum(x for x, _ in counts), sum(n for _, n in counts)

    def _against_other_dates(self, day: date, failed: set[date]) -> Comparison | None:
        others = [other for other in self.cells if other != day and other not in failed]
        if len(others) < self.settings.min_baseline_days:
            return None
        return self._two_samples(self._pooled([day]), self._pooled(others), 1, "", f"on {len(others)} other dates")

    def _within_date(self, day: date) -> list[Comparison]:
        arms = self.cells[day]
        found = []
        for variant, counts in arms.items() if len(arms) > 1 else ():
            others = [c for other, c in arms.items() if other != variant]
            pooled = sum(x for x, _ in others), sum(n for _, n in others)
            found.append(self._two_samples(counts, pooled, len(arms), f"in {variant}, ", "in the other variants"))
        if not self.check.bad_when_low:
            found.append(self._ceiling(self._pooled([day])))
        return found

    def _two_samples(self, seen: Counts, baseline: Counts, tests: int, who: str, against: str) -> Comparison:
        (x, n), (x0, n0) = seen, baseline
        tail = (
            scipy.stats.hypergeom.cdf(x, n + n0, x + x0, n)
            if self.check.bad_when_low
            else scipy.stats.hypergeom.sf(x - 1, n + n0, x + x0, n)
        )
        rate, expected = x / n, x0 / n0
        threshold = self._threshold(expected)
        matters = rate < threshold if self.check.bad_when_low else rate > threshold
        p_value = self._adjusted(tail, tests)
        fails = matters and self._significant(p_value)
        return Comparison(rate, n, expected, threshold, p_value, fails, who, against)

    def _ceiling(self, seen: Counts) -> Comparison:
        (x, n), ceiling = seen, self.settings.flag_ceiling
        p_value = self._adjusted(scipy.stats.binom.sf(x - 1, n, ceiling), 1)
        return Comparison(x / n, n, ceiling, ceiling, p_value, self._significant(p_value), "", "allowed at most")

    def _threshold(self, expected: float) -> float:
        """The rate beyond which a difference from the expected rate matters."""
        if self.check.bad_when_low:
            return expected * (1 - self.settings.exposure_rate_relative_change)
        return min(expected + self.settings.flag_points_above_baseline, self.settings.flag_ceiling)

    def _adjusted(self, tail: Any, tests: int) -> float:
        return float(min(1.0, float(tail) * tests * len(self.cells)))

    def _significant(self, p_value: float) -> bool:
        return p_value < self.settings.p_value

    def _verdict(self, day: date, comparisons: list[Comparison], failed: bool) -> Verdict:
        x, n = self._pooled([day])
        name, what = self.check.name, self.check.what
        if not comparisons:
            detail = f"{x / n:.2%} of {n:,} {what}; nothing to compare with yet"
            return Verdict(day, name, x / n, None, None, None, CheckStatus.OK, detail)
        # A date that failed shows its clearest failure; the other dates show the first comparison there is.
        failing = [c for c in comparisons if c.fails]
        shown = min(failing, key=lambda c: c.clearness) if failing else comparisons[0]
        detail = f"{shown.who}{shown.observed:.2%} of {shown.users:,} {what}, {shown.expected:.2%} {shown.against}"
        if not failed and any(self._significant(c.p_value) for c in comparisons):
            detail += "; a real difference, but too small to matter"
        status = CheckStatus.FAIL if failed else CheckStatus.OK
        return Verdict(day, name, shown.observed, shown.expected, shown.threshold, shown.p_value, status, detail)


def settled_before(cutoff: datetime, settings: QualitySettings, exposure_window_hours: int | None) -> date:
    """The first date that is not settled: fewer than settle_hours have passed for users assigned at the date's end.

    >>> settled_before(datetime(2026, 1, 10, tzinfo=UTC), QualitySettings(), None)
    datetime.date(2026, 1, 9)
    >>> settled_before(datetime(2026, 1, 10, tzinfo=UTC), QualitySettings(), 72)
    datetime.date(2026, 1, 7)
    """
    hours = max(settings.settle_hours, exposure_window_hours or 0)
    return (cutoff - timedelta(hours=hours)).astimezone(UTC).date()


def dates_without_exposures(
    excluded: Collection[date], settings: QualitySettings, exposure_window_hours: int | None
) -> frozenset[date]:
    """The assignment dates that are judged by exposures on one of the excluded dates: itself, or days before it.

    >>> sorted(dates_without_exposures([date(2026, 1, 9)], QualitySettings(), None))
    [datetime.date(2026, 1, 8), datetime.date(2026, 1, 9)]
    """
    hours = max(settings.settle_hours, exposure_window_hours or 0)
    return frozenset(day - timedelta(days=k) for day in excluded for k in range(1 + math.ceil(hours / 24)))


def exposure_verdicts(
    daily: Sequence[Mapping[str, Any]],
    *,
    cutoff: datetime,
    settings: QualitySettings,
    exposure_window_hours: int | None,
    assignment_source: str,
    exposures_needed: bool,
    excluded_assignments: Collection[date] = (),
    excluded_exposures: Collection[date] = (),
) -> list[Verdict]:
    """Verdicts on gold.fct_experiment_quality_metrics_daily, one per settled assignment date and check.

    With `assignment_source="exposures"` a user in several variants is a conflicted assignment, so that check replaces
    multi_variation_exposure. An experiment that logs no exposure at all fails `exposure_logging` only where exposures
    are needed (mode `exposed`). An excluded date is neither judged nor a baseline for others: an assignment date, and
    for checks of exposures each assignment date whose users had an excluded exposure date among their first.

    In this example half of the exposures of one date are lost, and users of another date see both variants:

    >>> healthy = {"variant_id": "control", "assigned": 1000, "canonical_assignments": 1000, "any_exposure": 850}
    >>> healthy |= {check.count: 0 for check in CHECKS[1:]}
    >>> days = [healthy | {"date": date(2026, 1, day)} for day in range(5, 11)]
    >>> days[2] |= {"any_exposure": 420}
    >>> days[4] |= {"judged_multi_variation_exposure": 90}
    >>> rules = {"settings": QualitySettings(), "exposure_window_hours": None, "assignment_source": "assignments"}
    >>> found = exposure_verdicts(days, cutoff=datetime(2026, 1, 13, tzinfo=UTC), exposures_needed=True, **rules)
    >>> for v in found:
    ...     if v.status == "fail":
    ...         print(v.date, v.check_name, v.observed, round(v.expected, 2), round(v.threshold, 3))
    2026-01-07 exposure_logging 0.42 0.85 0.765
    2026-01-09 multi_variation_exposure 0.09 0.0 0.01
    """
    first_open = settled_before(cutoff, settings, exposure_window_hours)
    settled = [row for row in daily if row["date"] < first_open and row["date"] not in excluded_assignments]
    settled.sort(key=lambda row: (row["date"], row["variant_id"]))  # the order of files must not choose what is shown
    blind = dates_without_exposures(excluded_exposures, settings, exposure_window_hours)
    verdicts: list[Verdict] = []
    for check in CHECKS:
        if check.name == "multi_variation_exposure" and assignment_source == "exposures":
            continue
        cells: dict[date, dict[str, Counts]] = {}
        for row in settled:
            if row["date"] in blind and check.name != OF_ASSIGNMENTS:
                continue
            if row[check.base] > 0:
                cells.setdefault(row["date"], {})[row["variant_id"]] = (row[check.count], row[check.base])
        if check.name == "exposure_logging" and not any(x for arms in cells.values() for x, _ in arms.values()):
            verdicts += _never_exposed(check, cells, exposures_needed)
        else:
            verdicts += Judge(check, cells, settings).verdicts()
    return verdicts


def _never_exposed(check: Check, cells: Mapping[date, object], needed: bool) -> list[Verdict]:
    status = CheckStatus.FAIL if needed else CheckStatus.OK
    detail = "no exposure of any user has been logged" + ("" if needed else "; none is needed in mode itt")
    return [Verdict(day, check.name, 0.0, None, None, None, status, detail) for day in sorted(cells)]
