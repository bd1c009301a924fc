"""The audit of an Arrow table looks into its lists of numbers too."""

from __future__ import annotations

import math
from datetime import date

import pyarrow as pa
import pytest

from exp_platform.lake.row_audit import Scope, audit_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema

STATISTICS = TABLES["gold.fct_experiment_metric_statistics"]
TYPES = STATISTICS.types
SCOPE = Scope("exp", date(2026, 2, 1))


def statistics(lists: list[list[float]]) -> pa.Table:
    """A row for each list, in as many chunks."""
    empty = {name: 0 if kind in ("int", "long") else 0.0 if kind == "double" else [] for name, kind in TYPES.items()}
    names = {"experiment_id": "exp", "metric_name": "m", "variant_id": "v", "segment": "all"}
    known = empty | names | {"cohort_date": None, "histogram": None}
    rows = [known | {"unit_bucket": bucket, "x": x} for bucket, x in enumerate(lists)]
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(STATISTICS)])
    return pa.concat_tables([pa.Table.from_pylist([row], schema) for row in rows])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_number_in_a_list_that_is_not_finite_is_found_with_its_row(wrong: float) -> None:
    _, findings = audit_arrow(statistics([[1.0, 2.0], [], [3.0, wrong], [wrong, wrong], [4.0]]), STATISTICS, SCOPE)
    (found,) = [finding for finding in findings if not finding.success]
    assert (found.expectation, found.unexpected_count) == ("x is finite", 2)
    assert ["unit_bucket=2" in key for key in found.sample] == [True, False]


def test_lists_of_finite_numbers_pass() -> None:
    _, findings = audit_arrow(statistics([[1.0, 2.0], [], [3.0]]), STATISTICS, SCOPE)
    assert all(finding.success for finding in findings)
    assert {"x is finite", "xx is finite", "did_vv is finite"} <= {finding.expectation for finding in findings}
