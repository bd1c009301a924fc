"""An experiment of two arms with one metric, `sales`, as studies of the whole way through J6 to J8 need it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from exp_platform.config.models import Experiment, Metric, Variant, Window


def sales(window: Window) -> Metric:
    """A sum that should rise, with two weeks before the assignment as its covariate."""
    return Metric(
        name="sales",
        version=1,
        description="Sales.",
        owner="calibration",
        type="sum",
        window=window,
        pre_period_days=14,
        direction="increase",
    )


def experiment_on_sales(experiment_id: str, name: str, start: datetime, end: datetime, **keys: Any) -> Experiment:
    """Two arms of one size that are compared on sales over all assigned users."""
    return Experiment(
        experiment_id=experiment_id,
        name=name,
        owner="calibration",
        hypothesis="It is better.",
        start_ts=start,
        end_ts=end,
        variants=(Variant(id="control", allocation=0.5, is_control=True), Variant(id="treatment", allocation=0.5)),
        analysis_mode="itt",
        primary_metric="sales",
        metrics=("sales",),
        **keys,
    )
