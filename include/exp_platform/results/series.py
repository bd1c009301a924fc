"""Series for a memo, over time: pure functions from tables to tidy records, no session needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exp_platform.config.models import Metric
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.deciding import Row
from exp_platform.results.effects import by_method, with_looks
from exp_platform.results.plan import AnalysisPlan, Interval, in_force, window_hours
from exp_platform.results.series_cube import series_cubes, series_days
from exp_platform.results.series_points import (
    AgePoint,
    AgeSeries,
    EffectPoint,
    EffectSeries,
    QualityPoint,
    QualitySeries,
    SampleRatioPoint,
    UnitsPoint,
    UnitsSeries,
)
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.ratio import ratio_effect
from exp_platform.stats.srm import srm_test
from exp_platform.stats.thresholds import SRM_FAILS_BELOW
from exp_platform.status import Method, ResultStatus

NO_SERIES_OF_QUANTILES = "quantiles_have_no_series"
NO_SERIES_OF_DID = "did_has_no_series"
NOT_COUNTED = "not_in_the_table"
STRATA_LEFT_OUT = "strata_left_out"  # CUPED by strata needs the sums of every segment
DATA_OR_SETTINGS = "data_or_settings_of_that_day"  # a run of the day read other data, or had other settings
MIN_COHORT = 30  # units of an arm from which a cohort date has an effect of its own


def effect_series(series: pa.Table, plan: AnalysisPlan, results: pa.Table | None = None) -> tuple[EffectSeries, ...]:
    """The effect of every arm on every metric as of each day, by the deciding method and the functions of J6.

    `series` is gold.fct_experiment_metric_series; `results` are rows of exp.analysis_results of all days, beside which
    a point says whether it differs from what was published then.
    """
    method, days = plan.experiment.method_in_force, series_days(series)
    missing = [m for m in plan.metrics if m.name not in set(pc.unique(series["metric_name"]).to_pylist())]
    found: dict[tuple[str, str], EffectSeries] = {}
    for metric in plan.metrics if method == Method.DID.value else missing:
        word = NO_SERIES_OF_DID if method == Method.DID.value else NOT_COUNTED
        word = NO_SERIES_OF_QUANTILES if metric.estimand == "quantile" else word
        for arm in plan.arms[1:]:
            found[metric.name, arm] = _series(metric, arm, plan, (), word)
    if days and method != Method.DID.value:
        forces = [_force(plan, day) for day in days]
        published = _published(results)
        flags = _flags(series)
        for cube in series_cubes(series, plan.metrics, plan.arms, days):
            effect = with_looks(by_method(series, cube, _without_strata(plan))[0][Method(method)], plan)
            for j, metric in enumerate(cube.metrics):
                words = flags[metric.name]
                if plan.experiment.stratify_by and method == Method.CUPED.value:
                    words = (*words, STRATA_LEFT_OUT)
                for a, arm in enumerate(plan.arms[1:]):
                    points = _points(effect[a, j], metric, days, forces, words)
                    known = {day: published.get((metric.name, arm, day)) for day in days}
                    points = tuple(_beside(point, known[point.as_of], metric) for point in points)
                    found[metric.name, arm] = _series(metric, arm, plan, points, "")
    return tuple(found[metric.name, arm] for metric in plan.metrics for arm in plan.arms[1:])


def age_series(statistics: pa.Table, plan: AnalysisPlan) -> tuple[AgeSeries, ...]:
    """The plain effect by days since exposure, from gold.fct_experiment_metric_statistics.

    The units of a cohort date have been exposed for so many days, at most the metric's window. What adds up over days
    is divided by them. Shares, extremes, quantiles and windows that open later are left out, as in the novelty check.
    """
    axes = read_axes(statistics, plan.arms)
    found = []
    for cube in cubes(statistics, plan.metrics, axes):
        if cube.kind not in ("mean", "ratio") or not axes.dates:
            continue
        estimate = ratio_effect if cube.kind == "ratio" else mean_effect
        effect = estimate(cube.stats[:, :, :, 0], alpha=plan.experiment.alpha, min_units=MIN_COHORT)
        for j, metric in enumerate(cube.metrics):
            adds_up = cube.kind != "ratio"
            if metric.window.start_hours > 0 or (adds_up and metric.aggregation_in_force not in ("sum", "count")):
                continue
            found += [
                AgeSeries(metric.name, arm, adds_up, _ages(effect[a, :, j], axes.dates, metric, plan, adds_up))
                for a, arm in enumerate(plan.arms[1:])
            ]
    return tuple(found)


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
        numbers = {name: row[name] for name in ("observed", "expected", "threshold", "p_value")}
        point = QualityPoint(row["date"], **numbers, status=row["status"], detail=row["detail"])
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


def _ages(
    effect: Effect, dates: Sequence[date], metric: Metric, plan: AnalysisPlan, adds_up: bool
) -> tuple[AgePoint, ...]:
    longest = window_hours(metric, plan.experiment) / 24
    points = []
    for i in reversed(range(len(dates))):
        days = min((plan.cutoff.date() - dates[i]).days - 0.5, longest)
        per = days if adds_up else 1.0
        effects = (effect.effect_abs, effect.effect_abs_ci_low, effect.effect_abs_ci_high)
        middle, low, high = (_number(column[i] / per) for column in effects)
        points.append(AgePoint(dates[i], days, middle, low, high, str(effect.status[i])))
    return tuple(points)


def _series(metric: Metric, arm: str, plan: AnalysisPlan, points: tuple[EffectPoint, ...], word: str) -> EffectSeries:
    threshold = metric.practical_threshold or None
    good = 1 if metric.direction == "increase" else -1
    clear = [p for p in points if _beyond(p.interval, 0.0)]
    far = [p for p in points if threshold is not None and _beyond(p.interval, threshold * good, good)]
    return EffectSeries(
        metric_name=metric.name,
        variant_id=arm,
        method=plan.experiment.method_in_force,
        scale=metric.decision_scale,
        threshold=threshold,
        margin=_margin(metric, plan),
        points=points,
        cleared_zero=clear[0].as_of if clear else None,
        cleared_threshold=far[0].as_of if far else None,
        no_series=word,
    )


def _margin(metric: Metric, plan: AnalysisPlan) -> float | None:
    """The guardrail's margin in the bad direction, where it is on the metric's decision scale."""
    sign = -1.0 if metric.direction == "increase" else 1.0
    for guardrail in plan.experiment.guardrails:
        relative = guardrail.max_relative_harm is not None
        if guardrail.metric == metric.name and relative == (metric.decision_scale == "relative"):
            return sign * guardrail.margin
    return None


def _beyond(interval: tuple[float | None, float | None], value: float, side: int = 0) -> bool:
    """True where the interval lies wholly above (side 1), below (-1) or on one side (0) of a value."""
    low, high = interval
    above, below = low is not None and low > value, high is not None and high < value
    return (above and side >= 0) or (below and side <= 0)


def _force(plan: AnalysisPlan, day: date) -> Interval:
    return replace(plan, dt=day, cutoff=datetime.combine(day + timedelta(days=1), time(), UTC)).interval_in_force


def _without_strata(plan: AnalysisPlan) -> AnalysisPlan:
    return replace(plan, experiment=plan.experiment.model_copy(update={"stratify_by": None}))


def _points(
    effect: Effect, metric: Metric, days: Sequence[date], forces: Sequence[Interval], words: tuple[str, ...]
) -> tuple[EffectPoint, ...]:
    fixed, anytime = (in_force(interval, metric.decision_scale) for interval in ("fixed", "anytime"))
    columns = {
        "effect": fixed["effect"],
        **{end: fixed[end] for end in ("low", "high")},
        **{f"anytime_{end}": anytime[end] for end in ("low", "high")},
        "p_value": fixed["p"],
        "anytime_p_value": anytime["p"],
        **{name: name for name in ("control_mean", "treatment_mean")},
    }
    numbers = {name: _numbers(getattr(effect, column)) for name, column in columns.items()}
    control, treatment = effect.control_n.astype(int).tolist(), effect.treatment_n.astype(int).tolist()
    return tuple(
        EffectPoint(
            as_of=day,
            in_force=forces[i],
            control_n=control[i],
            treatment_n=treatment[i],
            status=str(effect.status[i]),
            reason=str(effect.reason[i]),
            differs=words if day < days[-1] or STRATA_LEFT_OUT in words else (),
            **{name: column[i] for name, column in numbers.items()},
        )
        for i, day in enumerate(days)
    )


def _published(results: pa.Table | None) -> dict[tuple[str, str, date], Mapping[str, Any]]:
    """The deciding rows that runs have published, by metric, arm and day."""
    if results is None:
        return {}
    rows = results.filter(pc.fill_null(results["is_deciding"], False)).to_pylist()
    return {(row["metric_name"], row["variant_id"], row["dt"]): row for row in rows}


def _beside(point: EffectPoint, row: Mapping[str, Any] | None, metric: Metric) -> EffectPoint:
    """The point with the words for why it differs from its run; none where both agree to the last bit."""
    if row is None or row["status"] == ResultStatus.FAILED_PRETRENDS.value:
        return point
    fixed, anytime = (in_force(interval, metric.decision_scale) for interval in ("fixed", "anytime"))
    ours = (point.effect, point.low, point.high, point.anytime_low, point.anytime_high)
    theirs = (row[fixed["effect"]], row[fixed["low"]], row[fixed["high"]], row[anytime["low"]], row[anytime["high"]])
    same = ours == theirs and (point.control_n, point.treatment_n) == (row["control_n"], row["treatment_n"])
    return replace(point, differs=() if same else point.differs or (DATA_OR_SETTINGS,))


def _flags(series: pa.Table) -> dict[str, tuple[str, ...]]:
    """Metric -> the words of its rows."""
    flags: dict[str, dict[str, None]] = {}
    for name, words in zip(series["metric_name"].to_pylist(), series["differs"].to_pylist(), strict=True):
        flags.setdefault(name, {}).update(dict.fromkeys(words))
    return {name: tuple(words) for name, words in flags.items()}


def _numbers(values: NDArray[Any]) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
