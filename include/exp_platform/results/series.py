"""What a memo shows over time: pure functions from tables to tidy records, no session needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from exp_platform.results.deciding import Row
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.series_points import (
    QualityPoint,
    QualitySeries,
    SampleRatioPoint,
    UnitsPoint,
    UnitsSeries,
)
from exp_platform.stats.srm import srm_test
from exp_platform.stats.thresholds import SRM_FAILS_BELOW


def units_series(measures: Sequence[Row], plan: AnalysisPlan) -> UnitsSeries:
    """Validly assigned units of every arm by assignment date, with the sequential sample-ratio p of every day.

    `measures` are rows of gold.fct_experiment_quality_metrics_daily. A day without an assignment has a point too.
    """
    counts, days = _assigned(measures, plan.arms)
    shares = None if plan.is_rollout else [plan.experiment.shares[arm] for arm in plan.arms]
    totals = np.cumsum(counts, axis=0)
    points = tuple(
        UnitsPoint(
            day,
            arm,
            int(counts[i, a]),
            int(totals[i, a]),
            None if shares is None else float(totals[i].sum() * shares[a]),
        )
        for i, day in enumerate(days)
        for a, arm in enumerate(plan.arms)
    )
    ratio: tuple[SampleRatioPoint, ...] = ()
    if shares is not None and days:
        running = srm_test(counts, shares).sequential_p_by_day
        ratio = tuple(
            SampleRatioPoint(day, float(p), bool(p < SRM_FAILS_BELOW)) for day, p in zip(days, running, strict=True)
        )
    return UnitsSeries(points, ratio, next((point.day for point in ratio if point.failed), None))


def exposure_quality_series(verdicts: Sequence[Row]) -> tuple[QualitySeries, ...]:
    """Each check of exposure quality by day, from rows of gold.fct_experiment_exposure_quality_daily."""
    by_check: dict[str, list[QualityPoint]] = {}
    for row in sorted(verdicts, key=lambda row: (row["check_name"], row["date"])):
        numbers = [row[name] for name in ("observed", "expected", "threshold", "p_value")]
        point = QualityPoint(row["date"], *numbers, row["status"], row["detail"])
        by_check.setdefault(row["check_name"], []).append(point)
    return tuple(QualitySeries(name, tuple(points)) for name, points in by_check.items())


def _assigned(measures: Sequence[Row], arms: Sequence[str]) -> tuple[np.ndarray, tuple[date, ...]]:
    """Assigned units by day × arm, for every day between the first and the last assignment."""
    place = {arm: a for a, arm in enumerate(arms)}
    mine = [row for row in measures if row["variant_id"] in place and row["assigned"]]
    known = sorted({row["date"] for row in mine})
    if not known:
        return np.zeros((0, len(arms))), ()
    days = tuple(date.fromordinal(n) for n in range(known[0].toordinal(), known[-1].toordinal() + 1))
    counts = np.zeros((len(days), len(arms)))
    for row in mine:
        counts[(row["date"] - days[0]).days, place[row["variant_id"]]] = row["assigned"]
    return counts, days
