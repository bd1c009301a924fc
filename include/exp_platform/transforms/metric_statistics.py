"""J5: unit rows to counts and exact sums by metric, arm, segment, cohort date and unit bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame

from exp_platform.metrics.families import Family
from exp_platform.metrics.group_sums import ALL, NO_BUCKET
from exp_platform.metrics.scales import Scales
from exp_platform.metrics.unit_sums import SUMS_SQL, by_column, unit_sums

UNIT = ("variant_id", "cohort_date", "unit_bucket", "dimensions")

# All units by cohort date and by bucket, and each of a unit's segments by cohort date.
GROUPS = f"""concat(
    array(named_struct('segment', '{ALL}', 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET}),
          named_struct('segment', '{ALL}', 'cohort_date', cast(null as date), 'unit_bucket', unit_bucket)),
    transform(map_entries(dimensions), e -> named_struct(
        'segment', concat(e.key, '=', e.value), 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET})))"""


def group_sums(values: DataFrame, families: Sequence[Family], scales: Scales) -> DataFrame:
    """One row per partition × metric × group: counts and limbs. Unit rows go to NumPy in batches; nothing is shuffled.

    In Spark's own aggregates each unit would become a row for each metric and group, some thirty at ten metrics.
    """

    def of_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return unit_sums(batches, families, scales)

    return values.mapInArrow(of_partition, SUMS_SQL)


def sums_by_family(values: DataFrame, families: Sequence[Family], scales: Scales) -> list[tuple[Family, pa.Table]]:
    """The same collected, for each family a column for each limb; partitions are not put together yet."""
    sums = group_sums(values, families, scales).toArrow()
    return [(family, by_column(sums, family, scales)) for family in families]


def in_groups(long: DataFrame) -> DataFrame:
    """Each row once for every group that its unit is in."""
    others = [c for c in long.columns if c not in ("cohort_date", "unit_bucket", "dimensions")]
    return long.selectExpr(*others, f"inline({GROUPS})")
