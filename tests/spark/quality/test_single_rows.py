"""Rules about single rows are counted together: pairs of columns and plain conditions cost no scan of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exp_platform.quality import gx
from exp_platform.quality.rule import has_rows, no_row, ordered

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

TABLE = "silver.fact_assignment_canonical"
RULES = (
    has_rows(),
    ordered("a", "b"),
    ordered("a", "b", strict=True),
    no_row("no b is 9", "SELECT user_id FROM {batch} WHERE b = 9 OR b = 99"),
)


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ("(1, 2), (null, 1), (1, null)", []),
        ("(1, 2), (2, 2)", ["a is below b"]),
        ("(1, 2), (3, 2)", ["a is not above b", "a is below b"]),
        ("(1, 9)", ["no b is 9"]),
    ],
)
def test_a_row_breaks_the_rules_that_it_breaks_and_null_breaks_none(
    spark: SparkSession, rows: str, broken: list[str]
) -> None:
    frame = spark.sql(f"SELECT 'u' || a AS user_id, * FROM VALUES {rows} AS t(a, b)")
    jobs = spark.sparkContext.statusTracker()
    spark.sparkContext.setJobGroup(rows, "audit")
    found = gx.check_frame(frame, TABLE, RULES, {}, "spark")
    asked = len(jobs.getJobIdsForGroup(rows))
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    assert [finding.expectation for finding in found if not finding.success] == broken
    assert {finding.unexpected_count for finding in found if not finding.success} <= {1}
    assert broken or asked == 1, "all rules are counted by one aggregate"
