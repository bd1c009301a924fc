"""Every rule that is checked without Great Expectations says what Great Expectations says of the same rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from exp_platform.lake.tables import TABLES
from exp_platform.quality.arrow_rules import check_arrow
from exp_platform.quality.audit import filled_in
from exp_platform.quality.rule import Rule, between, has_rows, in_set, matches, ordered, parameter, sums_to_one

TABLE = "silver.dim_experiment_variant"
AT = datetime(2026, 1, 1, tzinfo=UTC)
PARAMETERS = {"variants": ["a", "b"]}


def frame(variants=("a", "b"), shares=(0.5, 0.5)):
    return pa.table(
        {
            "experiment_id": pa.array(["exp_1"] * len(variants), pa.string()),
            "variant_id": pa.array(variants, pa.string()),
            "is_control": pa.array([i == 0 for i in range(len(variants))], pa.bool_()),
            "expected_allocation": pa.array(shares, pa.float64()),
            "low": pa.array([None if s is None else s / 2 for s in shares], pa.float64()),
            "updated_at": pa.array([AT] * len(variants), pa.timestamp("us", "UTC")),
        }
    )


LENGTH = Rule("not empty", "expect_column_value_lengths_to_be_between", {"column": "variant_id", "min_value": 1})
MOSTLY = Rule(
    "mostly a",
    "expect_column_values_to_be_in_set",
    {"column": "variant_id", "value_set": ["a"], "mostly": 0.6},
    "warning",
)
RULES = [
    in_set("variant_id", parameter("variants")),
    in_set("is_control", [True, False]),
    MOSTLY,
    between("expected_allocation", low=0, high=1),
    between("expected_allocation", low=0, strict=True),
    between("expected_allocation", high=0.5, strict=True),
    ordered("expected_allocation", "low"),
    ordered("low", "expected_allocation", strict=True),
    matches("variant_id", r"^[a-z]\Z", "is one letter"),
    sums_to_one("expected_allocation"),
    has_rows(),
    LENGTH,
]
FRAMES = {
    "sound": frame(),
    "two faults in three": frame(("a", "ghost", ""), (0.2, 1.5, 0.0)),
    "nulls": frame(("a", None, "c"), (None, 0.5, 0.5)),
    "a tie at the border": frame(("a", "a", "b\n"), (0.0, 0.0, 1.0)),
    "empty": frame((), ()),
}


@pytest.fixture(scope="module")
def gx_findings():
    from exp_platform.quality.gx import check_frame

    def run(table):
        return check_frame(table.to_pandas(), TABLE, RULES, PARAMETERS, "pandas")

    return run


@pytest.mark.parametrize("name", FRAMES)
def test_both_ways_agree(name, gx_findings):
    found = [check_arrow(FRAMES[name], TABLES[TABLE], filled_in(rule, PARAMETERS)) for rule in RULES]
    expected = gx_findings(FRAMES[name])
    assert [(f.expectation, f.success, f.severity) for f in found] == [
        (f.expectation, f.success, f.severity) for f in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        if not ours.success and theirs.unexpected_count is not None:
            assert (ours.unexpected_count, ours.expectation) == (theirs.unexpected_count, ours.expectation)
            assert ours.unexpected_percent == pytest.approx(theirs.unexpected_percent)


def test_a_finding_names_the_offending_keys():
    finding = check_arrow(FRAMES["two faults in three"], TABLES[TABLE], filled_in(RULES[0], PARAMETERS))
    assert finding.sample == ("variant_id=ghost", "variant_id=")
    assert finding.blocks


def test_a_number_that_is_none_is_out_of_every_range():
    table = frame(("a", "b"), (float("nan"), 0.5))
    finding = check_arrow(table, TABLES[TABLE], between("expected_allocation", low=0, high=1))
    assert (finding.success, finding.unexpected_count) == (False, 1)


def test_a_warning_never_blocks():
    finding = check_arrow(FRAMES["two faults in three"], TABLES[TABLE], MOSTLY)
    assert not finding.success
    assert not finding.blocks


def test_an_expectation_that_crashes_blocks_even_when_it_would_only_warn():
    from exp_platform.quality.gx import check_frame

    crashing = in_set("no_such_column", ["a"], severity="warning")
    (finding,) = check_frame(frame().to_pandas(), TABLE, [crashing], PARAMETERS, "pandas")
    assert finding.blocks
    assert finding.detail.startswith("the check itself failed: ")


def test_an_expectation_that_crashes_without_great_expectations_blocks_as_well():
    crashing = in_set("no_such_column", ["a"], severity="warning")
    finding = check_arrow(frame(), TABLES[TABLE], crashing)
    assert finding.blocks
    assert finding.detail.startswith("the check itself failed: KeyError")


def test_a_sum_is_asked_of_a_column_with_a_value_and_not_of_one_without_any():
    rule = sums_to_one("expected_allocation")
    assert check_arrow(frame(shares=(None, None)), TABLES[TABLE], rule).success
    assert not check_arrow(frame(shares=(None, 0.5)), TABLES[TABLE], rule).success
    assert not check_arrow(frame((), ()), TABLES[TABLE], rule).success
