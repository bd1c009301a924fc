"""The values of a unit that a metric contract defines: the events they are made of, and the windows of these events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from exp_platform.config.models import Metric
from exp_platform.config.models.metric_types import AGGREGATIONS, Aggregation, AggregationTraits

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

PeriodKind = Literal["post", "covariate", "did_pre"]


@dataclass(frozen=True)
class Period:
    """A half-open window of one unit, in microseconds.

    post: [anchor + start, anchor + end), cut off at the epoch time `not_after`, if set; without an end it runs until
    `not_after`. covariate: [assignment - start, assignment). did_pre: ends at the assignment and is as long as the
    unit's own post window.
    """

    kind: PeriodKind
    start_us: int = 0
    end_us: int | None = None
    not_after_us: int | None = None


@dataclass(frozen=True)
class UnitValue:
    """One value of a unit: its key in `fct_experiment_unit_outcomes.metrics`, its events and their aggregation."""

    key: str
    metric: Metric
    source: str
    aggregation: Aggregation

    @property
    def traits(self) -> AggregationTraits:
        """The properties of the value's aggregation."""
        return AGGREGATIONS[self.aggregation]


def unit_values(metric: Metric) -> tuple[UnitValue, ...]:
    """The values of one metric: a ratio has numerator and denominator, an event-level quantile has none."""
    if metric.numerator is not None and metric.denominator is not None:
        parts = zip(metric.keys, (metric.numerator, metric.denominator), strict=True)
        return tuple(UnitValue(key, metric, part.source, part.aggregation) for key, part in parts)
    aggregation = metric.aggregation_in_force
    if aggregation is None:
        return ()
    return (UnitValue(metric.name, metric, metric.sources[0], aggregation),)


def all_unit_values(metrics: Iterable[Metric]) -> tuple[UnitValue, ...]:
    """The values of all metrics, in the order of the metrics."""
    return tuple(value for metric in metrics for value in unit_values(metric))


def covariate_values(metric: Metric) -> tuple[UnitValue, ...]:
    """The values before assignment that a contract names as covariates, beside the metric's own."""
    return all_unit_values(metric.covariate_metrics)


def micros(moment: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def post_period(metric: Metric, end_ts: datetime) -> Period:
    """The attribution window; `end_hours: experiment` and `truncate_at_end` stop at end_ts."""
    window = metric.window
    until_end = window.end_hours == "experiment"
    return Period(
        "post",
        start_us=hours_us(window.start_hours),
        end_us=None if window.end_hours == "experiment" else hours_us(window.end_hours),
        not_after_us=micros(end_ts) if until_end or window.truncate_at_end else None,
    )


def covariate_period(metric: Metric) -> Period:
    """The days before assignment whose values serve as covariates."""
    return Period("covariate", start_us=pre_period_days(metric) * DAY_US)


def did_period(metric: Metric, end_ts: datetime) -> Period:
    """The time before assignment that difference-in-differences compares with: as long as the attribution window."""
    post = post_period(metric, end_ts)
    if post.end_us is not None and post.not_after_us is None:  # the window has the same length for every unit
        return Period("did_pre", 0, post.end_us - post.start_us)
    return Period("did_pre", post.start_us, post.end_us, post.not_after_us)


def pre_period_days(metric: Metric) -> int:
    """Length of the covariate window in days; where the contract has none, the project fills in the experiment's."""
    if metric.pre_period_days is None:
        raise ValueError(f"metric {metric.name!r}: pre_period_days is not set; take metrics from Project.metrics_of")
    return metric.pre_period_days


def hours_us(hours: float) -> int:
    """Hours as whole microseconds."""
    return round(hours * HOUR_US)
