"""What a team writes, as frozen models that forbid unknown keys: profile, experiment, metric, scenario."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

ID_PATTERN = r"[a-z][a-z0-9_]{2,63}"


def _as_utc(value: object) -> object:
    """A time without a zone is UTC; a bare date is its first instant."""
    from datetime import UTC

    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


UtcTime = Annotated[datetime, BeforeValidator(_as_utc)]


class Model(BaseModel):
    """Read once, never changed, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- metrics -------------------------------------------------------------------------------------------------------

Aggregation = Literal["sum", "count", "any", "mean", "max", "last"]
MetricType = Literal["binary", "count", "mean", "sum", "ratio", "quantile", "retention"]


class Window(Model):
    """Attribution window in hours after the anchor, half-open; `experiment` means until end_ts."""

    start_hours: float = 0
    end_hours: float | Literal["experiment"]
    truncate_at_end: bool = False


class Part(Model):
    """Numerator or denominator of a ratio."""

    source: str
    aggregation: Literal["sum", "count"]


class Cap(Model):
    """Exactly one of a fixed value or a quantile of the pooled distribution of non-null unit values."""

    value: float | None = None
    quantile: float | None = None


class Metric(Model):
    """One metric contract, configs/metrics/<name>.yaml."""

    name: str
    version: int = Field(ge=1)
    description: str
    owner: str
    type: MetricType
    source: str | None = None
    aggregation: Aggregation | None = None
    numerator: Part | None = None
    denominator: Part | None = None
    quantile: float | None = None
    level: Literal["unit", "event"] = "unit"
    window: Window
    pre_period_days: int | None = Field(default=None, ge=0)  # None: the registry's
    maturity: Literal["any", "complete"] | None = None  # None: see `maturity_in_force`
    direction: Literal["increase", "decrease"]
    cap: Cap | None = None
    practical_threshold: float = Field(default=0.0, ge=0)  # on the decision scale
    decision_scale: Literal["absolute", "relative"] = "absolute"

    @property
    def aggregation_in_force(self) -> Aggregation | None:
        """The aggregation, with the type's default filled in; None for a ratio and an event-level quantile."""
        if self.type == "ratio" or (self.type == "quantile" and self.level == "event"):
            return None
        defaults: dict[str, Aggregation] = {
            "binary": "any",
            "retention": "any",
            "count": "count",
            "sum": "sum",
            "mean": "mean",
            "quantile": "sum",
        }
        return self.aggregation or defaults[self.type]

    @property
    def maturity_in_force(self) -> Literal["any", "complete"]:
        """`complete` is the default for retention and wherever the window starts after the anchor."""
        if self.maturity is not None:
            return self.maturity
        return "complete" if self.type == "retention" or self.window.start_hours > 0 else "any"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of this metric in `fct_experiment_unit_outcomes.metrics`."""
        if self.type == "ratio":
            return (f"{self.name}.numerator", f"{self.name}.denominator")
        if self.type == "quantile" and self.level == "event":
            return ()
        return (self.name,)

    @property
    def sources(self) -> tuple[str, ...]:
        """The metric_name values of the outcome events that this metric reads."""
        if self.numerator is not None and self.denominator is not None:
            return tuple(dict.fromkeys((self.numerator.source, self.denominator.source)))
        return (self.source or self.name,)


# --- experiments ---------------------------------------------------------------------------------------------------


class Variant(Model):
    """One arm."""

    id: str
    allocation: float = Field(ge=0, le=1)
    is_control: bool = False


class Guardrail(Model):
    """A metric that must not be harmed by more than the margin, a share of control's level or in the metric's unit."""

    metric: str
    max_relative_harm: float | None = Field(default=None, gt=0)
    max_absolute_harm: float | None = Field(default=None, gt=0)  # for rare events, whose relative effect is wide

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


class Source(Model):
    """Where a team's own events are, and how their columns map to the contract's."""

    format: Literal["parquet", "csv", "json", "iceberg"]
    location: str
    columns: dict[str, str] = {}  # contract column -> source column, or a Spark SQL expression over the source
    constants: dict[str, str] = {}  # contract column -> one value for every row
    where: str | None = None  # Spark SQL condition over the source: only these rows are events of this dataset


class ContractSettings(Model):
    """How much bad data is tolerated."""

    max_bad_fraction: float = Field(default=0.001, ge=0, le=1)


class QualitySettings(Model):
    """Thresholds of the J2 verdicts."""

    settle_hours: float = Field(default=24, ge=0)
    exposure_rate_relative_change: float = 0.10
    flag_points_above_baseline: float = 0.01
    flag_ceiling: float = 0.05
    p_value: float = 0.001
    min_baseline_days: int = 3


class Experiment(Model):
    """The registry entry, configs/experiments/<id>.yaml."""

    experiment_id: str
    name: str
    owner: str
    hypothesis: str
    unit: Literal["user"] = "user"
    status: Literal["draft", "running", "stopped", "concluded"] = "running"
    start_ts: UtcTime
    end_ts: UtcTime
    planned_users: int = Field(default=10_000, ge=1)
    design: Literal["randomized", "rollout"] = "randomized"
    decision_method: Literal["ab", "cuped", "did"] | None = None  # None: cuped, or did for a rollout
    decision_policy: str = "default"
    min_units: int = Field(default=100, ge=2)
    variants: tuple[Variant, ...]
    dimensions: tuple[str, ...] = ()
    cluster: str | None = None  # attribute whose values cluster the errors of a rollout
    pre_period_days: int = Field(default=14, ge=0)
    analysis_mode: Literal["itt", "exposed"]
    assignment_source: Literal["assignments", "exposures"] = "assignments"
    exposure_window_hours: int | None = Field(default=None, ge=1)
    primary_metric: str | None = None
    metrics: tuple[str, ...]
    guardrails: tuple[Guardrail, ...] = ()
    alpha: float = Field(default=0.05, ge=1e-9, lt=0.5)
    sources: dict[Literal["assignments", "exposures", "outcomes", "attributes"], Source] = {}
    contracts: ContractSettings | None = None  # None: the profile's
    quality: QualitySettings | None = None  # None: the profile's
    late_arrival_days: int | None = Field(default=None, ge=0)  # None: the profile's

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
        return tuple(v for v in self.variants if not v.is_control and v.allocation > 0)

    @property
    def live_variants(self) -> tuple[Variant, ...]:
        """Arms with an allocation above 0; a user in any other fails the contract."""
        return tuple(v for v in self.variants if v.allocation > 0)


# --- generation ----------------------------------------------------------------------------------------------------


class Fault(Model):
    """One thing that goes wrong in generated data: its name, how large, on which days (0 is the first)."""

    name: str
    size: float = 0.2  # left out: the fault's usual size, see docs/detection-matrix.md
    days: tuple[int, ...] = ()  # empty: the fault's usual days


class Scenario(Model):
    """How to generate one experiment's events; its effects are absolute among exposed users."""

    days: int = Field(ge=1)
    n_users: int = Field(ge=1)
    exposure_rate: float = Field(ge=0, le=1)
    treatment_share: float = Field(ge=0, le=1)
    base_conversion: float = Field(ge=0, le=1)
    effect_lift_conversion: float = 0.0
    revenue_mean: float = Field(default=30.0, ge=0)
    revenue_sd: float = Field(default=40.0, ge=0)
    effect_lift_revenue: float = 0.0  # relative change of the order value
    effect_lift_latency: float = 0.0  # relative change of the latency
    effect_lift_refunds: float = 0.0  # absolute change of the refund probability of an order
    pre_period_days: int = Field(default=14, ge=0)
    faults: tuple[Fault, ...] = ()
    seed: int = 7


class ExperimentDefaults(Model):
    """Registry entry of a scenario without a file of its own."""

    owner: str
    hypothesis: str
    start_ts: UtcTime
    analysis_mode: Literal["itt", "exposed"]
    primary_metric: str | None = None
    metrics: tuple[str, ...]
    guardrails: tuple[Guardrail, ...] = ()
    dimensions: tuple[str, ...] = ()
    design: Literal["randomized", "rollout"] = "randomized"
    planned_users: int | None = None  # None: the scenario's n_users
    min_units: int = 100
    alpha: float = 0.05


# --- profiles ------------------------------------------------------------------------------------------------------


class CatalogSettings(Model):
    """The Iceberg catalog, shared by Spark and PyIceberg under one name."""

    type: Literal["sqlite", "postgres", "rest"]
    uri: str  # sqlite: a path; postgres: host:port/database; rest: the URL
    warehouse: str  # a folder, or s3://bucket/prefix
    user: str | None = None
    password: str | None = Field(default=None, repr=False)


class ObjectStoreSettings(Model):
    """An S3-compatible store; its secrets come from the environment."""

    endpoint: str
    region: str = "us-east-1"
    access_key: str = Field(repr=False)
    secret_key: str = Field(repr=False)
    path_style: bool = True


class SparkSettings(Model):
    """How the Spark applications run."""

    master: str = "local[2]"
    driver_memory: str = "2g"
    executor_memory: str | None = None
    shuffle_partitions: int = 8
    native: bool = False  # scans, joins and aggregates in DataFusion Comet instead of the JVM
    native_memory: str = "1g"  # beside driver_memory, or executor_memory on a cluster; only counts when native
    conf: dict[str, str] = {}


class LandingSettings(Model):
    """How long the daily run waits for the day's raw data."""

    timeout_hours: float = 6


class PinSettings(Model):
    """How long the input snapshots of a run are kept reproducible."""

    retain_days: int = 90


class QuarantineSettings(Model):
    """How long refused rows are kept."""

    retain_days: int = 180


class Profile(Model):
    """One environment: configs/dev.yaml, configs/prod.yaml."""

    profile: str
    synthetic: bool = False
    raw_root: str
    memo_dir: str = "data/memos"
    docs_dir: str = "data/docs"
    experiments_dir: str = "configs/experiments"
    metrics_dir: str = "configs/metrics"
    catalog: CatalogSettings
    object_store: ObjectStoreSettings | None = None
    spark: SparkSettings = SparkSettings()
    contracts: ContractSettings = ContractSettings()
    quality: QualitySettings = QualitySettings()
    late_arrival_days: int = Field(default=3, ge=0)
    landing: LandingSettings = LandingSettings()
    pins: PinSettings = PinSettings()
    quarantine: QuarantineSettings = QuarantineSettings()
    ui_base_url: str | None = None  # for links in alerts
    experiments: dict[str, Scenario] = {}
    experiment_defaults: ExperimentDefaults | None = None
