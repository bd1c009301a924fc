"""Where only some cohort dates are published anew, the suite looks at them alone, on both sides of a comparison."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from exp_platform.lake.row_audit import Part
from exp_platform.quality.audit import audit_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

UNITS, COHORT = "gold.fct_experiment_unit_outcomes", "gold.fct_experiment_cohort"
EXACTLY = "the units are exactly the included users of the cohort"
PARAMETERS = {"variants": ["control"], "variants_and_all": ["control", "all"], "metrics": []}
ANEW, KEPT = date(2026, 1, 6), date(2026, 1, 5)


def users(spark: SparkSession, dates: dict[str, date]) -> DataFrame:
    """A row for each user: enough columns for the rules of both tables."""
    rows = spark.createDataFrame(list(dates.items()), "user_id string, cohort_date date")
    return rows.selectExpr(
        "'exp' as experiment_id", "user_id", "'control' as variant_id", "cohort_date",
        "cast(cohort_date as timestamp) as anchor_utc", "1 as unit_bucket", "true as included",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("units", "passes"),
    [
        ({"a": KEPT, "b": ANEW}, True),
        ({"a": KEPT}, False),  # a unit of the part is missing
        ({"a": KEPT, "b": ANEW, "c": ANEW}, False),  # one too many
        ({"b": ANEW}, True),  # what stays was looked at when it was published
    ],
)
def test_a_part_is_compared_with_its_own_part_of_other_tables(
    spark: SparkSession, units: dict[str, date], passes: bool
) -> None:
    cohort = users(spark, {"a": KEPT, "b": ANEW})

    def verdict(part: Part | None) -> Any:
        found = audit_frame(users(spark, units), UNITS, PARAMETERS, lambda table: {COHORT: cohort}[table], part=part)
        return {finding.expectation: finding.success for finding in found}[EXACTLY]

    assert verdict(Part("cohort_date", frozenset({ANEW}))) is passes
    assert verdict(None) is (units.keys() == {"a", "b"})


def test_a_suite_that_cannot_be_split_looks_at_everything(spark: SparkSession) -> None:
    """The cohort is compared with assignments, which have no cohort date."""
    cohort = users(spark, {"a": KEPT, "b": ANEW}).selectExpr(
        "*", "anchor_utc as assignment_time_utc", "cast(null as string) as exclusion_reason"
    )
    assigned = users(spark, {"b": ANEW})
    part = Part("cohort_date", frozenset({ANEW}))
    found = audit_frame(cohort, COHORT, PARAMETERS, lambda _: assigned, part=part)
    (exactly,) = [f for f in found if f.expectation.startswith("the cohort is exactly the assigned users")]
    assert not exactly.success and exactly.sample == ("user_id=a",)
