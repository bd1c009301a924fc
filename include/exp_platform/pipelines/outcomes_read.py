"""Facts about an experiment's outcomes that are known before they are read: extremes, and whose events they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.tables.names import COHORT, OUTCOMES
from exp_platform.transforms.joins import few_of_many
from exp_platform.transforms.unit_partials import has_far_values

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext


def far_outcomes(ctx: StageContext) -> bool:
    """True when a value of the experiment's outcomes is 2^32 or more.

    Of a stream the experiment reads some names, and would have to read them all to know. Where no row of the stream is
    that large, Iceberg's metadata say so.
    """
    far = has_far_values(ctx.read.at_least(OUTCOMES))
    return has_far_values(ctx.read.frame(OUTCOMES)) if far and OUTCOMES in ctx.run.stream_views else far


def mostly_of_others(ctx: StageContext) -> bool:
    """True when most events of the streams can't be of users in the cohort; False for an experiment's own events."""
    return OUTCOMES in ctx.run.stream_views and few_of_many(ctx.read.rows_in(COHORT), ctx.read.rows_in(OUTCOMES))
