"""One environment (configs/dev.yaml, configs/prod.yaml), and what the generator makes in it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exp_platform.config.models.base import Model, UtcTime
from exp_platform.config.models.experiment import ContractSettings, Guardrail, QualitySettings
from exp_platform.config.models.submitting import SubmitSettings


class Fault(Model):
    """One thing that goes wrong in generated data."""

    name: str = Field(description="Name of the fault: see docs/detection-matrix.md.")
    size: float = Field(default=0.2, description="Share of users, rows or files that it touches, from 0 to 1.")
    days: tuple[int, ...] = Field(
        default=(), description="Days on which it happens, 0 is the first; empty: the fault's usual days."
    )


class Scenario(Model):
    """How to generate one experiment's events; effects are those among exposed users."""

    days: int = Field(ge=1, description="Days on which users are assigned.")
    n_users: int = Field(ge=1, description="Users of all arms together.")
    exposure_rate: float = Field(ge=0, le=1, description="Share of the assigned users that are exposed.")
    treatment_share: float = Field(ge=0, le=1, description="Share of the users in the treatment arm.")
    base_conversion: float = Field(ge=0, le=1, description="Share of the control users that convert.")
    effect_lift_conversion: float = Field(default=0.0, description="Absolute change of it (0.03: 0.10 becomes 0.13).")
    revenue_mean: float = Field(default=30.0, ge=0, description="Mean value of an order, in currency.")
    revenue_sd: float = Field(default=40.0, ge=0, description="Standard deviation of it, in currency.")
    effect_lift_revenue: float = Field(default=0.0, description="Relative change of the order value (0.08: +8%).")
    effect_lift_latency: float = Field(default=0.0, description="Relative change of the latency.")
    effect_lift_refunds: float = Field(default=0.0, description="Absolute change of an order's refund probability.")
    pre_period_days: int = Field(default=14, ge=0, description="Days of events before assignment.")
    faults: tuple[Fault, ...] = Field(default=(), description="Things that go wrong in the data.")
    seed: int = Field(default=7, description="Seed of the random numbers; the same seed gives the same events.")


class ExperimentDefaults(Model):
    """Registry entry of a scenario without a file of its own; the keys mean what they mean there."""

    owner: str = Field(description="The team that answers for the experiment.")
    hypothesis: str = Field(description="What the team believes, and why.")
    start_ts: UtcTime = Field(description="First instant of the experiment window; it ends after the scenario's days.")
    analysis_mode: Literal["itt", "exposed"] = Field(description="Who is analysed: everyone assigned, or exposed.")
    primary_metric: str | None = Field(default=None, description="The metric that decides; left out: none.")
    metrics: tuple[str, ...] = Field(description="Names of the metric contracts, in the order of the memo.")
    guardrails: tuple[Guardrail, ...] = Field(default=(), description="Metrics that must not be harmed.")
    dimensions: tuple[str, ...] = Field(default=(), description="Attributes to cut segments by.")
    design: Literal["randomized", "rollout"] = Field(default="randomized", description="How users came to their arm.")
    planned_users: int | None = Field(
        default=None, description="Users of all arms together; left out: the scenario's n_users."
    )
    min_units: int = Field(default=100, description="Users with a value that each arm needs for an answer.")
    alpha: float = Field(default=0.05, description="Two-sided error of every interval.")


class CatalogSettings(Model):
    """The Iceberg catalog, shared by Spark and PyIceberg under one name."""

    type: Literal["sqlite", "postgres", "rest"] = Field(description="The kind of catalog.")
    uri: str = Field(description="sqlite: a path; postgres: host:port/database; rest: the URL.")
    warehouse: str = Field(description="Where the tables are: a folder, or s3://bucket/prefix.")
    user: str | None = Field(default=None, description="User of the catalog; left out: none.")
    password: str | None = Field(default=None, repr=False, description="Password; from the environment only.")


class ObjectStoreSettings(Model):
    """An S3-compatible store; its secrets come from the environment."""

    endpoint: str = Field(description="URL of the store.")
    region: str = Field(default="us-east-1", description="Region that requests are signed for.")
    access_key: str = Field(repr=False, description="Access key; from the environment only.")
    secret_key: str = Field(repr=False, description="Secret key; from the environment only.")
    path_style: bool = Field(default=True, description="True: the bucket is part of the path, not of the host's name.")


class SparkSettings(Model):
    """How the Spark applications run."""

    master: str = Field(default="local[2]", description="Master of run_end_to_end, notebooks and bin/spark-submit.")
    driver_memory: str = Field(default="2g", description="Heap of the driver.")
    executor_memory: str | None = Field(
        default=None, description="Heap of each executor on a cluster; left out: Spark's default."
    )
    executor_cores: int | None = Field(
        default=None, description="Cores of each executor on a cluster; left out: all of a worker."
    )
    cores_max: int | None = Field(
        default=None,
        description="Cores that one application takes on a standalone cluster; left out: all, and the next one waits.",
    )
    executor_python: str = Field(default="python3.11", description="Python 3.11 of a cluster's workers.")
    executor_package: str | None = Field(
        default=None,
        description="Archive of `make package` that executors get with the code and the jars, on a cluster; left out: "
        "their image holds all of them.",
    )
    shuffle_partitions: int = Field(default=8, description="Partitions of a shuffle; there is no adaptive execution.")
    conf: dict[str, str] = Field(default={}, description="Further Spark settings; they win over the platform's own.")


class LandingSettings(Model):
    """How long the daily run waits for the day's raw data."""

    timeout_hours: float = Field(default=6, description="Hours; then the day's task fails and alerts.")


class PinSettings(Model):
    """How long the input snapshots of a run are kept reproducible."""

    retain_days: int = Field(default=90, description="Days; a concluded experiment's last run is kept for good.")


class QuarantineSettings(Model):
    """How long refused rows are kept."""

    retain_days: int = Field(default=180, description="Days since the row was first seen.")


class Profile(Model):
    """One environment: configs/dev.yaml, configs/prod.yaml."""

    profile: str = Field(description="Name of the environment.")
    synthetic: bool = Field(default=False, description="True: the generator may write into the raw zone.")
    raw_root: str = Field(description="Where raw events land: a folder, or s3a://bucket/prefix.")
    memo_dir: str = Field(
        default="data/memos", description="Where memos are written: a folder, or s3a://bucket/prefix."
    )
    docs_dir: str = Field(
        default="data/docs",
        description="Where the data docs of the audits are written: a folder, or s3a://bucket/prefix.",
    )
    experiments_dir: str = Field(default="configs/experiments", description="Where the registry's files are.")
    metrics_dir: str = Field(default="configs/metrics", description="Where the metric contracts are.")
    streams_dir: str = Field(default="configs/streams", description="Where the contracts of the streams are.")
    catalog: CatalogSettings = Field(description="The Iceberg catalog.")
    object_store: ObjectStoreSettings | None = Field(
        default=None, description="The object store of raw events and tables; left out: local folders."
    )
    spark: SparkSettings = Field(default=SparkSettings(), description="Settings of the Spark applications.")
    submit: SubmitSettings = Field(
        default=SubmitSettings(), description="How Airflow submits a stage that needs a Spark session."
    )
    contracts: ContractSettings = Field(
        default=ContractSettings(), description="Tolerance for bad data of an experiment without its own."
    )
    quality: QualitySettings = Field(
        default=QualitySettings(), description="Thresholds of J2's verdicts for an experiment without its own."
    )
    late_arrival_days: int = Field(default=3, ge=0, description="Events that arrive later than this are reported.")
    landing: LandingSettings = Field(default=LandingSettings(), description="How long a daily run waits for raw data.")
    pins: PinSettings = Field(default=PinSettings(), description="How long a run stays reproducible.")
    quarantine: QuarantineSettings = Field(default=QuarantineSettings(), description="Keeping of refused rows.")
    ui_base_url: str | None = Field(
        default=None, description="Address of Airflow's UI, for links in alerts; left out: no links."
    )
    experiments: dict[str, Scenario] = Field(
        default={}, description="Generation scenarios by experiment id; not what is analysed."
    )
    experiment_defaults: ExperimentDefaults | None = Field(
        default=None, description="Registry entry of a scenario without a file in configs/experiments/."
    )
