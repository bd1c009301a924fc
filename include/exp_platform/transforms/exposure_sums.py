"""J5: sums of all validly assigned users from the assignment on, split into those exposed and the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.batches import FrameBatches
from exp_platform.metrics.families import families
from exp_platform.sums.group_sums import GROUP, NO_BUCKET, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.numbers import UNIT_COLUMNS
from exp_platform.sums.statistics_table import Statistics, in_order
from exp_platform.sums.unit_scales import ENDS_SQL, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import SUMS_SQL, by_column, unit_sums
from exp_platform.transforms.joins import HASH, JoinHint

USER = ["experiment_id", "user_id"]


def exposure_statistics(
    units: DataFrame,
    validation: DataFrame,
    metrics: Sequence[Metric],
    *,
    experiment_id: str,
    variants: Sequence[str],
    schema: pa.Schema,
    join: JoinHint = HASH,
) -> pa.Table:
    """Rows of gold.fct_experiment_exposure_statistics.

    `units` are rows of gold.fct_experiment_unit_outcomes with every validly assigned user, whose windows begin at the
    assignment; `validation` is silver.int_experiment_exposure_validation. Caps come from all of these users.
    """
    rows = FrameBatches(split_units(units, validation, join).persist())
    try:
        count = rows.rows
        scales = pooled_scales(rows.collect(partial(unit_ends, metrics=metrics, units=count), ENDS_SQL), metrics, count)
        sums = rows.collect(partial(unit_sums, metrics=metrics, scales=scales), SUMS_SQL)
    finally:
        rows.frame.unpersist()
    sums = sums.filter(pc.field("unit_bucket") == NO_BUCKET)
    none = Histograms.merged([])
    parts = [
        Statistics.of(experiment_id, family, roll_up(by_column(sums, family, scales), GROUP), scales, variants)
        for family in families(metrics)
    ]
    return in_order([part.rows(none, schema) for part in parts])


def split_units(units: DataFrame, validation: DataFrame, join: JoinHint = HASH) -> DataFrame:
    """The unit rows as J5 reads them, with one dimension, `exposed`: yes or no."""
    exposed = validation.where("is_valid_exposed").select(*USER, F.lit("yes").alias("exposed"))
    known = F.coalesce(F.col("exposed"), F.lit("no"))
    flagged = units.join(exposed.hint(join), USER, "left")
    return flagged.withColumn("dimensions", F.create_map(F.lit("exposed"), known)).select(*UNIT_COLUMNS)
