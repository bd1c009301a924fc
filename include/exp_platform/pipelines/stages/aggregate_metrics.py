"""J5: sufficient statistics from unit rows, sums by day from new events, and sums of all assigned users by exposure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.lake.batches import Batches, FrameBatches
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    COHORT,
    EXCLUDED_DAYS,
    EXPOSURE_STATISTICS,
    EXPOSURE_VALIDATION,
    FACT_ASSIGNMENT,
    OUTCOMES,
    UNIT_OUTCOMES,
)
from exp_platform.lake.types import arrow_schema
from exp_platform.metrics.families import split_by_exposure
from exp_platform.pipelines.outcomes_read import far_outcomes, mostly_of_others
from exp_platform.pipelines.reuse.statistics import SUMS, last_sums
from exp_platform.sums.numbers import UNIT_COLUMNS
from exp_platform.sums.series_plan import UNIT_COLUMNS as SERIES_COLUMNS
from exp_platform.sums.series_units import FileUnits, TableUnits, UnitSource
from exp_platform.transforms.cohort import Unusable, experiment_cohort, without_dimensions
from exp_platform.transforms.excluded_days import excluded_days
from exp_platform.transforms.exposure_sums import (
    COLUMNS,
    IDS_IN_MEMORY,
    SplitBatches,
    exposure_statistics,
    scales_of_some,
    split_units,
)
from exp_platform.transforms.joins import SORT, join_for
from exp_platform.transforms.metric_tables import metric_tables
from exp_platform.transforms.running_values import SeriesInputs
from exp_platform.transforms.sum_inputs import SumInputs
from exp_platform.transforms.unit_outcomes import unit_outcomes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from exp_platform.config.models import Metric
    from exp_platform.pipelines.context import StageContext
    from exp_platform.sums.scales import Scales


def run(ctx: StageContext) -> None:
    """Publish the sums of the analysed users, then those of all assigned users by exposure."""
    publish_exposure_sums(ctx, publish_sums(ctx))
    publish_excluded_days(ctx)


def publish_sums(ctx: StageContext) -> Scales | None:
    """Read unit rows and outcomes; publish statistics, panel and roll-ups. The scales of the unit rows, if counted."""
    answers = {table: ctx.reuse.of(table) for table in SUMS}
    if all(answer.is_everything for answer in answers.values()):
        for table, answer in answers.items():
            ctx.publish.reused(table, answer)
        return None
    inputs = read_inputs(ctx)
    tables = metric_tables(replace(inputs, last=last_sums(ctx, inputs)))
    for warning in tables.warnings:
        ctx.log(f"WARN {warning}")
    ctx.log(tables.said)
    for name, rows in tables.rows.items():
        ctx.publish(name, rows, notes=tables.notes.get(name))
    return tables.scales


def publish_exposure_sums(ctx: StageContext, scales: Scales | None = None) -> None:
    """Publish the sums of all assigned users, split by exposure; no rows where the design has no such split."""
    answer = ctx.reuse.of(EXPOSURE_STATISTICS)
    if answer.is_everything:
        ctx.publish.reused(EXPOSURE_STATISTICS, answer)
        return
    schema = arrow_schema(TABLES[EXPOSURE_STATISTICS])
    metrics = split_by_exposure(ctx.run.metrics)
    if not ctx.run.experiment.split_by_exposure or not metrics:
        ctx.publish(EXPOSURE_STATISTICS, schema.empty_table())
        return
    if ctx.run.experiment.analysis_mode != "itt" or _unknown_exposures(ctx) is not None:
        scales = None  # of other users than these
    with units_by_exposure(ctx, metrics) as units:
        rows = exposure_statistics(
            units,
            metrics,
            experiment_id=ctx.run.experiment_id,
            variants=[variant.id for variant in ctx.run.experiment.live_variants],
            schema=schema,
            scales=None if scales is None else scales_of_some(scales, ctx.run.metrics, metrics),
        )
    ctx.publish(EXPOSURE_STATISTICS, rows)


def publish_excluded_days(ctx: StageContext) -> None:
    """Publish how many users each entry of `exclude` takes out; no rows without such an entry."""
    answer = ctx.reuse.of(EXCLUDED_DAYS)
    if answer.is_everything:
        ctx.publish.reused(EXCLUDED_DAYS, answer)
        return
    experiment = ctx.run.experiment
    if not experiment.exclude:
        ctx.publish(EXCLUDED_DAYS, [])
        return
    rows = excluded_days(ctx.read.frame(EXPOSURE_VALIDATION), ctx.read.frame(COHORT), experiment, ctx.run.metrics)
    ctx.publish(EXCLUDED_DAYS, rows)
    for row in rows:
        days = ", ".join(row["dates"])
        ctx.log(
            f"excluded {row['what']} of {days}: {row['users']:,} of {row['of_users']:,} users leave "
            f"({row['metric_name']}); {row['reason']} ({row['decided_by']})"
        )


@contextmanager
def units_by_exposure(ctx: StageContext, metrics: Sequence[Metric]) -> Iterator[Batches]:
    """Unit rows of every validly assigned user, with windows from the assignment on and the dimension `exposed`.

    In intent to treat J4 has made them. In exposed mode its rows are of the exposed alone and begin at the exposure, so
    that a second pass over the events makes the others: what a treatment may move can't be where an ITT window begins.
    """
    validation, unusable = ctx.read.frame(EXPOSURE_VALIDATION), _unknown_exposures(ctx)
    few = unusable is None and ctx.read.rows_in(EXPOSURE_VALIDATION) <= IDS_IN_MEMORY
    exposed = _exposed_ids(ctx) if few else pa.array([], pa.string())
    if few and ctx.run.experiment.analysis_mode == "itt":
        yield SplitBatches(ctx.read.batches(UNIT_OUTCOMES, COLUMNS), exposed)
        return
    units = assigned_units(ctx, metrics)
    frame = units.select(*COLUMNS) if few else split_units(units, validation, SORT, unusable)
    kept = frame.persist()
    try:
        yield SplitBatches(FrameBatches(kept), exposed) if few else FrameBatches(kept)
    finally:
        kept.unpersist()


def _unknown_exposures(ctx: StageContext) -> Unusable | None:
    """The days that can't be used, where users may have been exposed on one of them without anybody knowing."""
    return Unusable.of(ctx.run.experiment) if ctx.run.experiment.excluded("exposures") else None


def _exposed_ids(ctx: StageContext) -> pa.Array:
    """The ids of the users with a valid exposure, read without a session."""
    users = ctx.read.arrow(EXPOSURE_VALIDATION, ["user_id", "is_valid_exposed"])
    return users.filter(pc.field("is_valid_exposed"))["user_id"].combine_chunks()


def assigned_units(ctx: StageContext, metrics: Sequence[Metric]) -> DataFrame:
    """Unit rows of every validly assigned user, made from events unless J4's are of the same users."""
    experiment = ctx.run.experiment
    if experiment.analysis_mode == "itt":
        return ctx.read.frame(UNIT_OUTCOMES)
    outcomes, validation = ctx.read.frame(OUTCOMES), ctx.read.frame(EXPOSURE_VALIDATION)
    return unit_outcomes(
        experiment_cohort(
            ctx.read.frame(FACT_ASSIGNMENT), validation, analysis_mode="itt", unusable=Unusable.of(experiment)
        ),
        outcomes,
        metrics,
        end_ts=experiment.end_ts,
        cutoff=ctx.run.cutoff,
        far=far_outcomes(ctx),
        join=join_for(ctx.read.rows_in(FACT_ASSIGNMENT)),
        excluded=experiment.excluded("outcomes"),
    )


def read_inputs(ctx: StageContext) -> SumInputs:
    """The unit rows, their cohort and the outcome events of this run."""
    outcomes, cohort = ctx.read.frame(OUTCOMES), ctx.read.frame(COHORT)
    return SumInputs(
        experiment_id=ctx.run.experiment_id,
        units=ctx.read.batches(UNIT_OUTCOMES, UNIT_COLUMNS),
        cohort=cohort if ctx.run.experiment.attributes_read else without_dimensions(cohort),
        outcomes=outcomes,
        metrics=ctx.run.metrics,
        variants=[variant.id for variant in ctx.run.experiment.live_variants],
        end_ts=ctx.run.experiment.end_ts,
        cutoff=ctx.run.cutoff,
        far=far_outcomes(ctx),
        join=join_for(ctx.read.rows_in(COHORT)),
        cluster=ctx.run.experiment.cluster,
        dimensions=tuple(sorted(ctx.run.experiment.attributes_read)),
        few=mostly_of_others(ctx),
        series=SeriesInputs(
            entrants=ctx.read.batches(UNIT_OUTCOMES, SERIES_COLUMNS),
            units=partial(unit_source, ctx),
            start_ts=ctx.run.experiment.start_ts,
        ),
        excluded=ctx.run.experiment.excluded("outcomes"),
    )


def unit_source(ctx: StageContext) -> UnitSource:
    """Where the tasks look up their units: in the files of unit rows, or among all rows where these can't be told."""
    files = ctx.read.files_by_bucket(UNIT_OUTCOMES)
    if files is None:
        return TableUnits(ctx.read.arrow(UNIT_OUTCOMES, SERIES_COLUMNS))
    return FileUnits(files.io, files.schema(SERIES_COLUMNS), files.paths, files.buckets)
