"""A metric contract: configs/metrics/<name>.yaml."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from exp_platform.config.models.base import Model
from exp_platform.config.models.metric_types import AGGREGATIONS, TYPES, Aggregation, Estimand, MetricType, TypeTraits

ValueFormat = Literal["number", "percent", "currency", "seconds", "milliseconds"]
MAX_COVARIATES = 8  # other metrics that one contract may name


class Window(Model):
    """Attribution window in hours after the anchor, half-open."""

    start_hours: float = Field(default=0, description="Hours after the anchor at which the window opens; 0 or more.")
    end_hours: float | Literal["experiment"] = Field(
        description="Hours after the anchor at which it closes; `experiment`: at the experiment's end_ts."
    )
    truncate_at_end: bool = Field(default=False, description="True: it closes at end_ts at the latest.")


class RatioPart(Model):
    """Numerator or denominator of a ratio, over the metric's window."""

    source: str = Field(description="metric_name of the outcome events.")
    aggregation: Literal["sum", "count"] = Field(description="Sum of a user's values, or number of events.")


class Cap(Model):
    """Upper limit of each user's value; exactly one of the two keys."""

    value: float | None = Field(default=None, description="A fixed limit in the metric's unit, 0 or more.")
    quantile: float | None = Field(
        default=None,
        description="This quantile (between 0 and 1) of the values of all included users, all arms together.",
    )


class Metric(Model):
    """One metric contract, configs/metrics/<name>.yaml."""

    added_later: ClassVar[frozenset[str]] = frozenset({"may_be_absent"})

    name: str = Field(description="Equals the file's name: small letters, digits, underscores.")
    version: int = Field(ge=1, description="Raise it with every change that changes results.")
    description: str = Field(description="One sentence for people.")
    owner: str = Field(description="The team that answers for the definition.")
    type: MetricType = Field(description="The kind of number that each user gets, and how users are compared.")
    source: str | None = Field(
        default=None, description="metric_name of the outcome events; left out: the metric's own name."
    )
    aggregation: Aggregation | None = Field(
        default=None,
        description=(
            "How a user's events in the window become one value; left out: any for binary and retention, count for "
            "count, sum for sum and for a quantile of users, mean for mean."
        ),
    )
    numerator: RatioPart | None = Field(default=None, description="Of a ratio, and required there.")
    denominator: RatioPart | None = Field(default=None, description="Of a ratio, and required there.")
    quantile: float | None = Field(default=None, description="Of a quantile metric: which one, between 0 and 1.")
    level: Literal["unit", "event"] = Field(
        default="unit", description="Of a quantile metric: the quantile of users' values, or of single events."
    )
    may_be_absent: bool = Field(
        default=False,
        description=(
            "True: no event of the source among all of the experiment's events is a zero; left out, it is no answer "
            "(source_absent), since the source is more often misspelt than silent."
        ),
    )
    window: Window = Field(description="When an outcome event counts for the metric.")
    pre_period_days: int | None = Field(
        default=None,
        ge=0,
        description="Days before assignment that the covariate looks at; left out: those of the experiment.",
    )
    covariates: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_COVARIATES,
        description=(
            "Other metrics whose values before assignment CUPED uses beside the metric's own; an experiment need not "
            "list them."
        ),
    )
    maturity: Literal["any", "complete"] | None = Field(
        default=None,
        description=(
            "complete: only users whose window has closed count; any: all of them. Left out: complete for retention "
            "and where start_hours is more than 0, else any."
        ),
    )
    direction: Literal["increase", "decrease"] = Field(description="The direction of change that is good.")
    cap: Cap | None = Field(default=None, description="Upper limit of each user's value; left out: none.")
    practical_threshold: float = Field(
        default=0.0,
        ge=0,
        description="Effects smaller than this do not matter; on the decision scale (0.05 there is 5% if relative).",
    )
    decision_scale: Literal["absolute", "relative"] = Field(
        default="absolute", description="The scale of the threshold, and of the interval and p that decide."
    )

    title: str | None = Field(
        default=None,
        min_length=1,
        description="Name for people, as it begins a sentence; left out: the metric's name without underscores.",
    )
    unit: str | None = Field(
        default=None,
        description=(
            "Unit of a value as pages write it: € or EUR for currency, a word such as visits for a number; of a share "
            "the unit is always percent."
        ),
    )
    format: ValueFormat | None = Field(
        default=None, description="How pages write a value; left out: percent for a share, else number."
    )

    _covariate_metrics: tuple[Metric, ...] = PrivateAttr(default=())

    def with_covariates(self, metrics: tuple[Metric, ...]) -> Metric:
        """A copy that holds the contracts of the metrics that `covariates` names."""
        copy = self.model_copy()
        copy._covariate_metrics = metrics
        return copy

    @property
    def covariate_metrics(self) -> tuple[Metric, ...]:
        """The contracts of the metrics that `covariates` names; the project fills them in."""
        if len(self._covariate_metrics) != len(self.covariates):
            raise ValueError(f"metric {self.name!r}: covariates are not set; take metrics from Project.metrics_of")
        return self._covariate_metrics

    @property
    def title_in_force(self) -> str:
        """The name for people: the contract's title, else the metric's name in words."""
        return self.title or self.name.replace("_", " ").capitalize()

    @property
    def format_in_force(self) -> ValueFormat:
        """The way in which pages write a value: a share is in percent, whatever else the contract says."""
        return "percent" if self.is_share else self.format or "number"

    @property
    def traits(self) -> TypeTraits:
        """The properties of the metric's type."""
        return TYPES[self.type]

    @property
    def estimand(self) -> Estimand:
        """The number of an arm that is compared: a mean, a share (`binary`), a ratio of sums or a quantile."""
        return self.traits.estimand

    @property
    def is_share(self) -> bool:
        """True when the level of an arm is a share of its users, shown in percent."""
        return self.estimand == "binary"

    @property
    def is_ratio(self) -> bool:
        """True when the metric has a numerator and a denominator."""
        return self.estimand == "ratio"

    @property
    def of_events(self) -> bool:
        """True for a quantile of single events: no user has a value of their own."""
        return self.estimand == "quantile" and self.level == "event"

    @property
    def aggregation_in_force(self) -> Aggregation | None:
        """The aggregation, with the type's default filled in; None for a ratio and an event-level quantile."""
        return None if self.of_events else self.aggregation or self.traits.aggregation

    @property
    def leaves_users_out(self) -> bool:
        """True when a user without events has no value rather than 0."""
        aggregation = self.aggregation_in_force
        return self.of_events or (aggregation is not None and not AGGREGATIONS[aggregation].zero_without_events)

    @property
    def maturity_in_force(self) -> Literal["any", "complete"]:
        """`complete` is the default for retention and wherever the window starts after the anchor."""
        if self.maturity is not None:
            return self.maturity
        return "complete" if self.traits.only_mature or self.window.start_hours > 0 else "any"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of this metric in `fct_experiment_unit_outcomes.metrics`."""
        if self.is_ratio:
            return (f"{self.name}.numerator", f"{self.name}.denominator")
        return () if self.of_events else (self.name,)

    @property
    def sources(self) -> tuple[str, ...]:
        """The metric_name values of the outcome events that this metric reads."""
        if self.numerator is not None and self.denominator is not None:
            return tuple(dict.fromkeys((self.numerator.source, self.denominator.source)))
        return (self.source or self.name,)
