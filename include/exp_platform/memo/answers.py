"""The published rows that a memo is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from exp_platform.results.last_run import SinceLastRun
from exp_platform.results.series_points import AgeSeries, EffectSeries, QualitySeries, UnitsSeries

Row = Mapping[str, Any]
Rows = Sequence[Row]
ALL = "all"


@dataclass(frozen=True, eq=False)
class Answers:
    """The rows that the run published, one list per table."""

    decisions: Rows
    results: Rows  # exp.analysis_results of this dt
    guardrails: Rows
    checks: Rows  # gold.fct_experiment_statistical_validation
    quality: Rows  # gold.fct_experiment_exposure_quality_daily
    pretrend_tests: Rows
    pretrend_deltas: Rows
    looks: Rows = ()  # the deciding rows of primary metric and guardrails of every dt so far
    effects: Sequence[EffectSeries] = ()  # by as-of day; empty: made from `looks`
    ages: Sequence[AgeSeries] = ()  # effects by days since exposure
    units: UnitsSeries | None = None
    quality_days: Sequence[QualitySeries] = ()
    data: Mapping[str, Any] = field(default_factory=dict)  # from memo.data
    sealed_plan: Mapping[str, Any] = field(default_factory=dict)  # from memo.amendments
    unusable: Mapping[str, Any] = field(default_factory=dict)  # from memo.unusable
    uncapped: Mapping[tuple[str, str], tuple[float, float | None]] = field(default_factory=dict)  # results.uncapped
    moved: SinceLastRun | None = None  # against the last run of an earlier day
    spoke_since: Mapping[tuple[str, str], date] = field(default_factory=dict)  # from memo.cards: (check, metric) -> dt
    leads: Sequence[float] = ()  # hours by which exposures lie before their assignment, where a check speaks of them
    second_opinion: Mapping[str, Any] = field(default_factory=dict)  # empty while no second implementation has looked
