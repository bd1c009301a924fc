"""A row of gold.fct_experiment_statistical_validation, and what J7 looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from exp_platform.results.cube import Axes, Cube
from exp_platform.results.deciding import Row
from exp_platform.results.plan import AnalysisPlan
from exp_platform.status import CheckStatus

if TYPE_CHECKING:
    from exp_platform.results.absent import Absent

ALL = "all"


@dataclass(frozen=True, eq=False)
class CheckInputs:
    """The numbers of one experiment as of one dt that the checks read."""

    plan: AnalysisPlan
    statistics: pa.Table
    cubes: Sequence[Cube]
    axes: Axes
    assigned: Sequence[Row]  # gold.fct_experiment_quality_metrics_daily
    deciding: dict[tuple[str, str], dict[str, Any]]  # (metric, arm) -> deciding row
    pretrends: Sequence[Row] = ()  # exp.did_pretrend_tests
    exposures: pa.Table | None = None  # gold.fct_experiment_exposure_statistics
    history: dict[str, list[float]] = field(default_factory=dict)  # metric -> relative effects of other experiments
    absent: Sequence[Absent] = ()  # metrics whose source has no event
    repeated: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # source -> rows, and those that were dropped


def check_row(
    check_name: str,
    status: CheckStatus = CheckStatus.OK,
    *,
    metric: str = ALL,
    variant: str = ALL,
    segment: str = ALL,
    statistic: Any = None,
    p_value: Any = None,
    observed: Any = None,
    expected: Any = None,
    threshold: Any = None,
    detail: str = "",
) -> dict[str, Any]:
    """One verdict; a number that is not finite is null."""
    numbers = {
        "statistic": statistic,
        "p_value": p_value,
        "observed": observed,
        "expected": expected,
        "threshold": threshold,
    }
    return {
        "check_name": check_name,
        "metric_name": metric,
        "variant_id": variant,
        "segment": segment,
        **{name: finite(value) for name, value in numbers.items()},
        "status": status.value,
        "detail": detail,
    }


def finite(value: Any) -> float | None:
    """A plain float, or null."""
    return None if value is None or not np.isfinite(value) else float(value)
