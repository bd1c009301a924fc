"""J5: sums of all validly assigned users from the assignment on, split into those exposed and the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.lake.batches import Batches, Kernel
from exp_platform.metrics.families import families
from exp_platform.sums.group_sums import GROUP, NO_BUCKET, roll_up
from exp_platform.sums.histograms import Histograms
from exp_platform.sums.numbers import UNIT_COLUMNS, all_numbers
from exp_platform.sums.scales import Scales
from exp_platform.sums.statistics_table import Statistics, in_order
from exp_platform.sums.unit_scales import ENDS_SQL, pooled_scales, unit_ends
from exp_platform.sums.unit_sums import SUMS_SQL, by_column, unit_sums
from exp_platform.transforms.cohort import Unusable
from exp_platform.transforms.joins import JoinHint

USER = ["experiment_id", "user_id"]
COLUMNS = ("user_id", *UNIT_COLUMNS)  # of unit rows that `SplitBatches` splits
IDS_IN_MEMORY = 1_000_000  # users whose ids each worker may hold, about 150 MB; more are joined by Spark


def exposure_statistics(
    units: Batches,
    metrics: Sequence[Metric],
    *,
    experiment_id: str,
    variants: Sequence[str],
    schema: pa.Schema,
    scales: Scales | None = None,
) -> pa.Table:
    """Rows of gold.fct_experiment_exposure_statistics.

    `units` are rows of every validly assigned user as gold.fct_experiment_unit_outcomes has them, with windows from the
    assignment on and the one dimension `exposed`. Caps come from all of these users; `scales` are theirs, if they are
    known, which saves a pass.
    """
    if scales is None:
        ends = units.collect(partial(unit_ends, metrics=metrics, units=units.rows), ENDS_SQL)
        scales = pooled_scales(ends, metrics, units.rows)
    sums = units.collect(partial(unit_sums, metrics=metrics, scales=scales), SUMS_SQL)
    sums = sums.filter(pc.field("unit_bucket") == NO_BUCKET)
    none = Histograms.merged([])
    parts = [
        Statistics.of(experiment_id, family, roll_up(by_column(sums, family), GROUP), scales, variants)
        for family in families(metrics)
    ]
    return in_order([part.rows(none, schema) for part in parts])


def scales_of_some(scales: Scales, metrics: Sequence[Metric], some: Sequence[Metric]) -> Scales:
    """The scales of the numbers of some of the metrics, under the columns that they have without the others."""
    known = {(n.metric.name, n.source, n.key): n.column for n in all_numbers(metrics)}
    columns = {n.column: known[n.metric.name, n.source, n.key] for n in all_numbers(some)}
    return Scales(scales.units, {new: scales.by_column[old] for new, old in columns.items()})


@dataclass(frozen=True)
class SplitBatches:
    """Unit rows with the dimension `exposed`, which is looked up in the ids of the exposed users."""

    units: Batches  # in the order of COLUMNS
    exposed: pa.Array

    @property
    def rows(self) -> int:
        """Number of rows in all parts."""
        return self.units.rows

    def collect(self, kernel: Kernel, schema: str) -> pa.Table:
        """All rows that the kernel yields for the parts."""
        return self.units.collect(partial(_with_exposure, kernel=kernel, exposed=self.exposed), schema)


def split_units(units: DataFrame, validation: DataFrame, join: JoinHint, unusable: Unusable | None = None) -> DataFrame:
    """The unit rows with the dimension `exposed`, joined by Spark for more ids than a worker may hold.

    A user who may first have been exposed on an excluded date is neither exposed nor not, and is left out.
    """
    if unusable is not None:
        unknown = validation.where(unusable.exposure_unknown).select(*USER)
        units = units.join(unknown, USER, "left_anti")
    exposed = validation.where("is_valid_exposed").select(*USER, F.lit("yes").alias("exposed"))
    known = F.coalesce(F.col("exposed"), F.lit("no"))
    flagged = units.join(exposed.hint(join), USER, "left")
    return flagged.withColumn("dimensions", F.create_map(F.lit("exposed"), known)).select(*UNIT_COLUMNS)


def _with_exposure(batches: Iterable[pa.RecordBatch], kernel: Kernel, exposed: pa.Array) -> Iterator[pa.RecordBatch]:
    # Arrow's `is_in` would hash all ids again for each batch, of which every file of a cohort date has its own.
    known = frozenset(exposed.to_pylist())
    return kernel(_flagged(batch, known) for batch in batches)


def _flagged(batch: pa.RecordBatch, exposed: Set[str]) -> pa.RecordBatch:
    words = pa.array(["yes" if user in exposed else "no" for user in batch.column("user_id").to_pylist()], pa.string())
    keys = pa.repeat(pa.scalar("exposed"), len(batch))
    offsets = pa.array(np.arange(len(batch) + 1, dtype=np.int32))
    columns = {name: batch.column(name) for name in UNIT_COLUMNS}
    # No row by bucket is wanted, and one bucket makes fewer cells of a batch.
    columns["unit_bucket"] = pa.array(np.zeros(len(batch), dtype=np.int32))
    columns["dimensions"] = pa.MapArray.from_arrays(offsets, keys, words)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
