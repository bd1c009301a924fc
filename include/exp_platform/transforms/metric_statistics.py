"""J5: unit rows to counts and exact sums by metric, arm, segment, cohort date and unit bucket."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Metric
from exp_platform.metrics.families import COLUMN_OF, Family, has_unit_values
from exp_platform.metrics.group_sums import ALL, GROUP, NO_BUCKET
from exp_platform.metrics.scales import Scales
from exp_platform.transforms.metric_values import scaled

UNIT = ("variant_id", "cohort_date", "unit_bucket", "dimensions")

# All units by cohort date and by bucket, and each of a unit's segments by cohort date.
GROUPS = f"""concat(
    array(named_struct('segment', '{ALL}', 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET}),
          named_struct('segment', '{ALL}', 'cohort_date', cast(null as date), 'unit_bucket', unit_bucket)),
    transform(map_entries(dimensions), e -> named_struct(
        'segment', concat(e.key, '=', e.value), 'cohort_date', cohort_date, 'unit_bucket', {NO_BUCKET})))"""

COUNTED = (
    "count_if(has) as n",
    "count_if(not has) as n_null",
    "count_if(mature) as n_mature",
    "count_if(has_x) as n_x",
    "count_if(in_did) as did_n",
)


def group_sums(values: DataFrame, family: Family, scales: Scales) -> DataFrame:
    """One row per group in both grouping sets: counts, and the limbs of every sum of products."""
    records = ", ".join(_record(i, metric, family, scales) for i, metric in family.members)
    units = values.selectExpr("variant_id", f"{GROUPS} as groups", f"inline(array({records}))")
    factors = {"g": "cast(in_did as double)", "z": "if(has_x, 0D, 1D)"}
    limbs = [
        column
        for name, product in family.products.items()
        for column in scales.limbs.columns(name, " * ".join(factors.get(letter, letter) for letter in product))
    ]
    cut = units.selectExpr("metric", "variant_id", "groups", "has", "mature", "has_x", "in_did", *limbs)
    long = cut.selectExpr(*(c for c in cut.columns if c != "groups"), "inline(groups)")
    return long.groupBy(*GROUP).agg(*(F.expr(sql) for sql in (*COUNTED, *scales.limbs.sums(list(family.products)))))


def in_groups(long: DataFrame) -> DataFrame:
    """Each row once for every group that its unit is in."""
    others = [c for c in long.columns if c not in ("cohort_date", "unit_bucket", "dimensions")]
    return long.selectExpr(*others, f"inline({GROUPS})")


def _record(i: int, metric: Metric, family: Family, scales: Scales) -> str:
    """SQL of what one unit adds to one metric: what it has, and its numbers, 0 where they do not count."""
    has, mature = f"y{i} is not null", f"mature{i}"
    if metric.maturity_in_force == "complete":
        has = f"{has} and {mature}"
    fields = {"metric": str(i), "has": has, "mature": mature}
    if not has_unit_values(metric):
        fields |= {"has_x": "false", "in_did": "false"} | dict.fromkeys(family.letters, "0D")
    else:
        in_did = f"{has} and {mature} and p{i} is not null"
        fields |= {"has_x": f"{has} and x{i} is not null", "in_did": in_did}
        for letter in family.letters:
            column = COLUMN_OF[letter].format(i)
            number = scaled(column, scales.by_column[column])
            fields[letter] = f"coalesce(if({in_did if letter in 'pq' else has}, {number}, 0D), 0D)"
    return f"named_struct({', '.join(f'{name!r}, {sql}' for name, sql in fields.items())})"
