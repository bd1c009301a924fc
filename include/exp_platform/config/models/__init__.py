"""Frozen models of the files in configs/, which forbid unknown keys: metric, experiment, profile and scenario."""

from __future__ import annotations

from exp_platform.config.models.base import ID_PATTERN, Model, UtcTime
from exp_platform.config.models.experiment import (
    ContractSettings,
    Experiment,
    Guardrail,
    QualitySettings,
    Variant,
)
from exp_platform.config.models.metric import Cap, Metric, RatioPart, Window
from exp_platform.config.models.metric_types import Aggregation, MetricType
from exp_platform.config.models.places import CatalogSettings, ObjectStoreSettings
from exp_platform.config.models.profile import (
    ExperimentDefaults,
    Fault,
    LandingSettings,
    PinSettings,
    Profile,
    QuarantineSettings,
    Scenario,
    SparkSettings,
)
from exp_platform.config.models.source import MetricOfRow, Source
from exp_platform.config.models.stream import Stream
from exp_platform.config.models.unusable import Acknowledgement, Exclusion, Unusable

__all__ = [
    "ID_PATTERN",
    "Acknowledgement",
    "Aggregation",
    "Cap",
    "CatalogSettings",
    "ContractSettings",
    "Exclusion",
    "Experiment",
    "ExperimentDefaults",
    "Fault",
    "Guardrail",
    "LandingSettings",
    "Metric",
    "MetricOfRow",
    "MetricType",
    "Model",
    "ObjectStoreSettings",
    "PinSettings",
    "Profile",
    "QualitySettings",
    "QuarantineSettings",
    "RatioPart",
    "Scenario",
    "Source",
    "SparkSettings",
    "Stream",
    "Unusable",
    "UtcTime",
    "Variant",
    "Window",
]
