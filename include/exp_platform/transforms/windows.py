"""Start and end of a unit's windows in epoch microseconds, from its `anchor_us` and `assignment_us`."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from exp_platform.metrics.values import Period


def period_start(period: Period) -> Column:
    """First instant of the window."""
    if period.kind == "post":
        return F.col("anchor_us") + F.lit(period.start_us)
    if period.kind == "covariate":
        return F.col("assignment_us") - F.lit(period.start_us)
    return F.col("assignment_us") - _post_length(period)


def period_end(period: Period) -> Column:
    """First instant after the window."""
    return _post_end(period) if period.kind == "post" else F.col("assignment_us")


def _post_start(period: Period) -> Column:
    return F.col("anchor_us") + F.lit(period.start_us)


def _post_end(period: Period) -> Column:
    if period.end_us is None:
        return F.lit(period.not_after_us)
    end = F.col("anchor_us") + F.lit(period.end_us)
    return end if period.not_after_us is None else F.least(end, F.lit(period.not_after_us))


def _post_length(period: Period) -> Column:
    """Length of the unit's attribution window after truncation, in microseconds, at least 0."""
    if period.end_us is not None and period.not_after_us is None:
        return F.lit(period.end_us - period.start_us)
    return F.greatest(_post_end(period) - _post_start(period), F.lit(0))
