"""The change of the deciding numbers since the last run of an earlier day, without computing anything again.

The series of J5 holds the effect as of the last run's day by today's data, definitions, settings and code. What this
point and the published number differ by is all that changed for days that were known then; what today's number and this
point differ by is the new days. Parts are exact differences of doubles, so that they add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from exp_platform.results.moved import FIGURES, Figure
from exp_platform.results.plan import AnalysisPlan, Interval, in_force
from exp_platform.results.series import STRATA_LEFT_OUT
from exp_platform.results.series_points import EffectPoint, EffectSeries

Row = Mapping[str, Any]
NO_POINT = "no_point_of_that_day"


@dataclass(frozen=True)
class Since:
    """One number: as it was published, as of that day by today's data, and now. None where there is no answer."""

    before: float | None
    between: float | None
    now: float | None


@dataclass(frozen=True)
class MetricSince:
    """The deciding numbers of one arm on one metric since the last run."""

    metric_name: str
    variant_id: str
    figures: Mapping[Figure, Since]
    no_split: str = ""  # why `between` is not known, as a word of memo.words; empty: it is
    differs: tuple[str, ...] = ()  # words for what else than data and settings is in the first part


@dataclass(frozen=True)
class Files:
    """Raw files of a dataset that the last run had read and that are no longer as they were."""

    dataset: str
    path: str
    rows_before: int
    rows_now: int | None  # None: the file is gone


@dataclass(frozen=True)
class SinceLastRun:
    """All that the memo says about what moved."""

    run_id: str
    dt: date
    decisions: Mapping[str, str]  # arm, or `all` -> decision of the last run
    trust: str
    interval: Interval  # the one in force then
    metrics: tuple[MetricSince, ...]
    events: Mapping[str, int | None] | None = None  # dataset -> events of known days that came or went; None: unknown
    files: tuple[Files, ...] | None = None  # None: the list of that day is gone
    settings: tuple[str, ...] | None = None  # what differs; None: the configuration of that run is not kept
    definitions: tuple[str, ...] | None = None
    code: tuple[str, str] = ("", "")  # the version of the last run, and this one


def metrics_since(
    before: Sequence[Row], now: Sequence[Row], effects: Sequence[EffectSeries], plan: AnalysisPlan, interval: Interval
) -> tuple[MetricSince, ...]:
    """The deciding numbers of the primary metric and the guardrails; `interval` is the one in force at the last run."""
    day = before[0]["dt"] if before else None
    old = {(row["metric_name"], row["variant_id"]): row for row in before if row["is_deciding"]}
    points = {
        (series.metric_name, series.variant_id): (series, point)
        for series in effects
        for point in series.points
        if point.as_of == day
    }
    words = {(series.metric_name, series.variant_id): series.no_series for series in effects}
    found = []
    for row in now:
        key = row["metric_name"], row["variant_id"]
        if not row["is_deciding"] or key[0] not in plan.deciding_metrics or key not in old:
            continue
        scale = plan.metric(key[0]).decision_scale
        then = _numbers(old[key], in_force(interval, scale))
        today = _numbers(row, in_force(plan.interval_in_force, scale))
        point = points[key][1] if key in points else None
        if point is not None and STRATA_LEFT_OUT in point.differs:
            point, why = None, STRATA_LEFT_OUT
        else:
            why = words.get(key) or NO_POINT
        middle = dict.fromkeys(FIGURES, None) if point is None else _point(point)
        found.append(
            MetricSince(
                *key,
                {figure: Since(then[figure], middle[figure], today[figure]) for figure in FIGURES},
                no_split="" if point is not None else why,
                differs=() if point is None else point.differs,
            )
        )
    return tuple(found)


def _numbers(row: Row, columns: Mapping[str, str]) -> dict[Figure, float | None]:
    users = None if row["control_n"] is None else float(row["control_n"] + (row["treatment_n"] or 0))
    return {
        "effect": row[columns["effect"]],
        "low": row[columns["low"]],
        "high": row[columns["high"]],
        "p_value": row[columns["p"]],
        "users": users,
    }


def _point(point: EffectPoint) -> dict[Figure, float | None]:
    low, high = point.interval
    return {
        "effect": point.effect,
        "low": low,
        "high": high,
        "p_value": point.p_in_force,
        "users": float(point.control_n + point.treatment_n),
    }
