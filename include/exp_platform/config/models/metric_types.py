"""The types of metrics and the aggregations of a unit's events, each with its properties in one table.

Everything that depends on a type asks one of these properties. A new type is a row here, its rules of form in
`config/key_rules.py`, and its estimator in `results/effects.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Aggregation = Literal["sum", "count", "any", "mean", "max", "last"]
MetricType = Literal["binary", "count", "mean", "sum", "ratio", "quantile", "retention"]
Estimand = Literal["mean", "binary", "ratio", "quantile"]


@dataclass(frozen=True)
class AggregationTraits:
    """Properties of one way to put a unit's events together."""

    zero_without_events: bool  # a unit without events has 0; else it has no value and is left out of the metric
    adds_up_over_days: bool = False  # the values of days add up to the value of the window

    @property
    def has_panel(self) -> bool:
        """Daily values before assignment make sense, so that pre-trends can be tested."""
        return self.zero_without_events


AGGREGATIONS: dict[Aggregation, AggregationTraits] = {
    "sum": AggregationTraits(zero_without_events=True, adds_up_over_days=True),
    "count": AggregationTraits(zero_without_events=True, adds_up_over_days=True),
    "any": AggregationTraits(zero_without_events=True),
    "mean": AggregationTraits(zero_without_events=False),
    "max": AggregationTraits(zero_without_events=False),
    "last": AggregationTraits(zero_without_events=False),
}


@dataclass(frozen=True)
class TypeTraits:
    """Properties of one type of metric."""

    estimand: Estimand  # the number of an arm that is compared
    aggregation: Aggregation | None  # of a unit's events, where the contract names none; None: its parts name theirs
    allowed: tuple[Aggregation, ...] = ()  # what a contract may name
    may_be_capped: bool = True
    only_mature: bool = False  # maturity is `complete` unless the contract says otherwise
    opens_later: bool = False  # the window must begin after the anchor


_ANY = tuple(AGGREGATIONS)
TYPES: dict[MetricType, TypeTraits] = {
    "binary": TypeTraits("binary", "any", ("any",), may_be_capped=False),
    "count": TypeTraits("mean", "count", ("count",)),
    "mean": TypeTraits("mean", "mean", _ANY),
    "sum": TypeTraits("mean", "sum", ("sum",)),
    "ratio": TypeTraits("ratio", None),
    "quantile": TypeTraits("quantile", "sum", _ANY),
    "retention": TypeTraits("binary", "any", ("any",), may_be_capped=False, only_mature=True, opens_later=True),
}
