"""The facts that were fixed before data came: planned end, interval in force, scale that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from exp_platform.config.models import Experiment, Metric

Interval = Literal["anytime", "fixed"]
Adjustment = Literal["holm", "benjamini_hochberg"]


@dataclass(frozen=True)
class Promise:
    """The parts of the first sealed plan that bind every later run, whatever the configuration says by then."""

    primary_metric: str | None
    end_ts: datetime
    planned_end: datetime
    planned_users: int


@dataclass(frozen=True)
class AnalysisPlan:
    """One experiment as of one dt: everything that says which number decides, none of the numbers."""

    experiment: Experiment
    metrics: tuple[Metric, ...]
    dt: date
    cutoff: datetime  # events before it are seen
    secondaries: Adjustment = "holm"  # the policy's
    promise: Promise | None = None  # of the first seal; None before the plan is sealed

    @property
    def primary(self) -> Metric | None:
        """The metric that decides, if the registry names one."""
        return next((m for m in self.metrics if m.name == self.experiment.primary_metric), None)

    @property
    def has_started(self) -> bool:
        """True when this dt sees the first instant of the experiment."""
        return self.cutoff > self.experiment.start_ts

    @property
    def assignment_days(self) -> int:
        """The number of whole days on which users could be assigned up to this dt, without excluded dates."""
        seen_until = min(self.cutoff, self.experiment.end_ts)
        lost = sum(day < seen_until.date() for day in self.experiment.excluded("assignments"))
        return max((seen_until - self.experiment.start_ts).days - lost, 0)

    @property
    def planned_end(self) -> datetime:
        """The instant after which no new data can enter the primary metric (without one: any metric)."""
        deciding = (self.primary,) if self.primary else self.metrics
        return max(metric_end(metric, self.experiment) for metric in deciding)

    @property
    def planned_end_reached(self) -> bool:
        """True when this dt sees everything that the planned analysis was to see."""
        return self.cutoff >= self.planned_end

    @property
    def interval_in_force(self) -> Interval:
        """Anytime-valid until the planned end, fixed-horizon from then on, if the sealed plan was kept to its end.

        The fixed-horizon interval holds for one look on a day that was fixed in advance. It never comes before the
        first planned end, nor at all where end_ts now lies before the sealed one: the data for that look will not come.
        """
        if self.end_moved_earlier or not self.planned_end_reached:
            return "anytime"
        return "anytime" if self.promise and self.cutoff < self.promise.planned_end else "fixed"

    @property
    def end_moved_earlier(self) -> bool:
        """True when end_ts was moved to before the end that was sealed at the start."""
        return self.promise is not None and self.experiment.end_ts < self.promise.end_ts

    @property
    def primary_changed(self) -> bool:
        """True when another metric decides than was sealed: the result is exploratory until a new experiment."""
        return self.promise is not None and self.experiment.primary_metric != self.promise.primary_metric

    @property
    def planned_users(self) -> int:
        """The users that tune the anytime-valid interval: those first sealed, since a later tuning would void it."""
        return self.promise.planned_users if self.promise else self.experiment.planned_users

    @property
    def arms(self) -> tuple[str, ...]:
        """Variant ids that users can be in, control first."""
        return (self.experiment.control.id, *(v.id for v in self.experiment.treatments))

    @property
    def is_rollout(self) -> bool:
        """True when arms were not drawn at random."""
        return self.experiment.design == "rollout"

    @property
    def deciding_metrics(self) -> frozenset[str]:
        """The metrics on which the decision stands: the primary and the guardrails."""
        primary = self.experiment.primary_metric
        return frozenset((*((primary,) if primary else ()), *(g.metric for g in self.experiment.guardrails)))

    def metric(self, name: str) -> Metric:
        """A metric of this experiment by name."""
        return next(m for m in self.metrics if m.name == name)

    def is_secondary(self, name: str) -> bool:
        """Listed in `metrics` and not the primary; a metric that is only a guardrail is judged as one."""
        return name in self.experiment.metrics and name != self.experiment.primary_metric


def metric_end(metric: Metric, experiment: Experiment) -> datetime:
    """When the last unit's window closes, if it came at the last moment of the experiment."""
    window = metric.window
    if window.truncate_at_end or window.end_hours == "experiment":
        return experiment.end_ts
    return experiment.end_ts + timedelta(hours=float(window.end_hours))


def window_hours(metric: Metric, experiment: Experiment) -> float:
    """Length of the metric's window in hours, at its longest."""
    if metric.window.end_hours == "experiment":
        return (experiment.end_ts - experiment.start_ts).total_seconds() / 3600
    return float(metric.window.end_hours) - metric.window.start_hours


def in_force(interval: Interval, scale: Literal["absolute", "relative"]) -> dict[str, str]:
    """The columns of exp.analysis_results that decide: effect, low, high and p."""
    if scale == "relative":
        low, high, p = {
            "fixed": ("effect_rel_ci_low", "effect_rel_ci_high", "p_value_rel"),
            "anytime": ("anytime_rel_ci_low", "anytime_rel_ci_high", "anytime_p_value_rel"),
        }[interval]
        return {"effect": "effect_rel", "low": low, "high": high, "p": p}
    low, high, p = {
        "fixed": ("effect_abs_ci_low", "effect_abs_ci_high", "p_value"),
        "anytime": ("anytime_ci_low", "anytime_ci_high", "anytime_p_value"),
    }[interval]
    return {"effect": "effect_abs", "low": low, "high": high, "p": p}


def names(metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Metric names in the experiment's order."""
    return tuple(metric.name for metric in metrics)
