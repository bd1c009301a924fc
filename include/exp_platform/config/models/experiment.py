"""The registry entry of an experiment: configs/experiments/<id>.yaml."""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from exp_platform.config.models.base import Model, UtcTime
from exp_platform.config.models.source import BOTH, Dataset, Source, SourceKey, Sources, listed, of_dataset
from exp_platform.config.models.unusable import Acknowledgement, Exclusion, Unusable, excluded_dates


class Variant(Model):
    """One arm."""

    id: str = Field(description="Name of the arm, as the events write it; not `all`.")
    allocation: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Promised share of the users; all arms together give 1. A rollout may leave it out in all arms.",
    )
    is_control: bool = Field(default=False, description="True for the one arm that the others are compared with.")

    @property
    def is_live(self) -> bool:
        """True for an arm that users can be in: no share is promised, or one above 0."""
        return self.allocation is None or self.allocation > 0


class Guardrail(Model):
    """A metric that must not be harmed by more than the margin; exactly one of the two margins."""

    metric: str = Field(description="Name of the metric.")
    max_relative_harm: float | None = Field(
        default=None, gt=0, description="Change in the bad direction that is allowed, as a share (0.02 is 2%)."
    )
    max_absolute_harm: float | None = Field(
        default=None,
        gt=0,
        description="Change in the bad direction that is allowed, in the metric's unit: for rare events.",
    )

    @model_validator(mode="after")
    def _one_margin(self) -> Guardrail:
        if (self.max_relative_harm is None) == (self.max_absolute_harm is None):
            found = "no margin" if self.max_relative_harm is None else "a margin of both kinds"
            raise PydanticCustomError("margin", f"{found}: give one of max_relative_harm and max_absolute_harm")
        return self

    @property
    def margin(self) -> float:
        """The margin, in the unit of its kind."""
        return self.max_absolute_harm or self.max_relative_harm or 0.0


class ContractSettings(Model):
    """How much bad data is tolerated."""

    max_bad_fraction: float = Field(
        default=0.001, ge=0, le=1, description="A dataset with a larger share of refused rows blocks the run."
    )


class QualitySettings(Model):
    """Thresholds of J2's verdicts on assignment and exposure logging."""

    settle_hours: float = Field(
        default=24,
        ge=0,
        description="Hours after its end from which a date is judged; exposure_window_hours if that is longer.",
    )
    exposure_rate_relative_change: float = Field(
        default=0.10, description="A relative drop of the exposure rate by more than this matters (0.10 is 10%)."
    )
    flag_points_above_baseline: float = Field(
        default=0.01,
        description="A flag's rate beyond the expected by more than this matters (0.01: 1 point).",
    )
    flag_ceiling: float = Field(default=0.05, description="A flag's rate above this matters whatever is expected.")
    p_value: float = Field(default=0.001, description="A check fails below this p, adjusted, if the change matters.")
    min_baseline_days: int = Field(
        default=3, description="Other settled dates that are needed to say what is expected of a date."
    )


class Experiment(Model):
    """The registry entry, configs/experiments/<id>.yaml."""

    added_later: ClassVar[frozenset[str]] = frozenset({"exposure_source"})

    experiment_id: str = Field(description="Equals the file's name: 3 to 64 small letters, digits, underscores.")
    name: str = Field(description="A name that people use.")
    owner: str = Field(description="The team that answers for the experiment.")
    hypothesis: str = Field(description="What the team believes, and why.")
    unit: Literal["user"] = Field(default="user", description="The unit of randomisation.")
    status: Literal["draft", "running", "stopped", "concluded"] = Field(
        default="running", description="Where in its life it is; a draft is never run by the daily DAG."
    )
    start_ts: UtcTime = Field(description="First instant of the experiment window; without a zone it is UTC.")
    end_ts: UtcTime = Field(description="First instant after the experiment window.")
    planned_users: int = Field(
        default=10_000,
        ge=1,
        description="Users of all arms together; tunes the anytime-valid interval as it was when the plan was sealed.",
    )
    design: Literal["randomized", "rollout"] = Field(
        default="randomized", description="rollout: users were not dealt to the arms by chance; decided by did."
    )
    decision_method: Literal["ab", "cuped", "did"] | None = Field(
        default=None, description="The method that decides, fixed in advance; left out: cuped, did for a rollout."
    )
    decision_policy: str = Field(default="default", description="Name of a file in configs/policies/.")
    min_units: int = Field(default=100, ge=2, description="Users with a value that each arm needs for an answer.")
    variants: tuple[Variant, ...] = Field(description="The arms: one control, at least one treatment.")
    dimensions: tuple[str, ...] = Field(
        default=(), description="Attributes to cut segments by, from the dataset attributes."
    )
    stratify_by: str | None = Field(
        default=None,
        description="One of dimensions, by whose values CUPED also adjusts (post-stratification); left out: none.",
    )
    cluster: str | None = Field(
        default=None, description="Of a rollout: the attribute whose values cluster the errors; left out: none."
    )
    pre_period_days: int = Field(default=14, ge=0, description="Days before assignment that covariates look at.")
    analysis_mode: Literal["itt", "exposed"] = Field(
        description="Who is analysed: everyone assigned (itt), or everyone exposed. No default, on purpose."
    )
    assignment_source: Literal["assignments", "exposures"] = Field(
        default="assignments", description="exposures: no assignment log exists, the first exposure is the assignment."
    )
    exposure_source: Literal["exposures", "none"] = Field(
        default="exposures", description="none: no exposure log exists, so that only itt can be analysed."
    )
    exposure_window_hours: int | None = Field(
        default=None, ge=1, description="Hours after assignment in which an exposure counts; left out: no limit."
    )
    primary_metric: str | None = Field(
        default=None, description="The metric that decides, one of metrics; left out: a person decides."
    )
    metrics: tuple[str, ...] = Field(description="Names of the metric contracts, in the order of the memo.")
    guardrails: tuple[Guardrail, ...] = Field(
        default=(), description="Metrics that must not be harmed by more than their margin."
    )
    alpha: float = Field(default=0.05, ge=1e-9, lt=0.5, description="Two-sided error of every interval.")
    sources: dict[SourceKey, Sources] = Field(
        default={},
        description=(
            "Where each dataset's events are: one source or a list of them; one left out is read from the raw zone. "
            "assignments_and_exposures stands for both, where one log has both."
        ),
    )
    streams: dict[Dataset, tuple[str, ...]] = Field(
        default={},
        description="Dataset: names of the streams (configs/streams/) that it is read from, in place of the raw zone.",
    )
    contracts: ContractSettings | None = Field(
        default=None, description="Tolerance for bad data of this experiment; left out: the profile's."
    )
    quality: QualitySettings | None = Field(
        default=None, description="Thresholds of J2's verdicts for this experiment; left out: the profile's."
    )
    late_arrival_days: int | None = Field(
        default=None, ge=0, description="Events that arrive later than this are reported; left out: the profile's."
    )
    exclude: tuple[Exclusion, ...] = Field(
        default=(), description="Days whose assignments, exposures or outcomes can't be used, with a reason."
    )
    acknowledge: tuple[Acknowledgement, ...] = Field(
        default=(), description="Checks that failed or warned and cost no trust, with a reason."
    )

    def excluded(self, what: Unusable) -> tuple[date, ...]:
        """The dates whose assignments, exposures or outcomes can't be used, in order."""
        return excluded_dates(self.exclude, what)

    def sources_of(self, dataset: str) -> tuple[Source, ...]:
        """The mapped sources of a dataset; none where its events lie in the raw zone."""
        if dataset in ("assignments", "exposures") and BOTH in self.sources:
            return tuple(of_dataset(source, dataset) for source in listed(self.sources[BOTH]))
        return listed(self.sources.get(dataset))  # type: ignore[call-overload]

    @property
    def attributes_read(self) -> tuple[str, ...]:
        """The attributes of users that an analysis needs: the dimensions, and the one that clusters errors."""
        return tuple(dict.fromkeys((*self.dimensions, *((self.cluster,) if self.cluster else ()))))

    @property
    def split_by_exposure(self) -> bool:
        """True where all assigned users stand beside the exposed ones: random arms that are logged for themselves."""
        logged = self.assignment_source == "assignments" and self.exposure_source == "exposures"
        return self.design == "randomized" and logged

    @property
    def method_in_force(self) -> Literal["ab", "cuped", "did"]:
        """The deciding method, fixed in advance."""
        return self.decision_method or ("did" if self.design == "rollout" else "cuped")

    @property
    def control(self) -> Variant:
        """The control arm."""
        return next(v for v in self.variants if v.is_control)

    @property
    def treatments(self) -> tuple[Variant, ...]:
        """All other arms that users can be in."""
        return tuple(v for v in self.variants if not v.is_control and v.is_live)

    @property
    def live_variants(self) -> tuple[Variant, ...]:
        """Arms that users can be in; a user in any other fails the contract."""
        return tuple(v for v in self.variants if v.is_live)

    @property
    def shares(self) -> dict[str, float]:
        """Arm -> share of the users to plan with: the promised one; where none is promised, all arms are equal."""
        equal = 1 / len(self.variants)
        return {v.id: equal if v.allocation is None else v.allocation for v in self.variants}
