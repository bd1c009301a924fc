"""The audit of tables that no Spark session writes: the rules of their suites, with the experiment's own words."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import to_arrow
from exp_platform.quality.audit import audit_frame, suite_parameters

DECISION = "gold.fct_experiment_decision"
AT = datetime(2026, 2, 2, tzinfo=UTC)


@pytest.fixture
def parameters(project):
    experiment = project.experiment("exp_add_cart_002")
    return suite_parameters(experiment, project.metrics_of(experiment))


def decision(**changes):
    row = {
        "experiment_id": "exp_add_cart_002",
        "dt": date(2026, 2, 1),
        "variant_id": "treatment",
        "trust": "trusted",
        "decision": "ship",
        "reasons": [],
        "policy": "default",
        "interval_in_force": "fixed",
        "run_id": "run_1",
        "input_snapshots": "{}",
        "config_hash": "c",
        "code_version": "v",
        "computed_at": AT,
    }
    return to_arrow(TABLES[DECISION], [row | changes])


def broken(frame, table, parameters):
    return [(f.expectation, f.severity, f.sample) for f in audit_frame(frame, table, parameters) if not f.success]


def test_a_sound_row_passes(parameters):
    assert broken(decision(), DECISION, parameters) == []
    assert broken(decision(variant_id="all"), DECISION, parameters) == []


def test_a_variant_that_the_experiment_does_not_have_is_named(parameters):
    (finding,) = broken(decision(variant_id="ghost"), DECISION, parameters)
    assert finding[1:] == ("critical", ("variant_id=ghost, dt=2026-02-01",))


def test_a_word_that_nobody_knows_is_refused(parameters):
    (finding,) = broken(decision(decision="perhaps"), DECISION, parameters)
    assert finding[0].startswith("decision is one of invalid, stop,")


def test_a_decision_without_rows_is_refused(parameters):
    assert [rule for rule, *_ in broken(decision().slice(0, 0), DECISION, parameters)] == ["there are rows"]


def test_allocations_that_sum_to_more_than_one_are_refused(parameters):
    name = "silver.dim_experiment_variant"
    rows = [
        {
            "experiment_id": "exp_add_cart_002",
            "variant_id": variant,
            "is_control": variant == "control",
            "expected_allocation": 0.6,
            "updated_at": AT,
        }
        for variant in ("control", "treatment")
    ]
    found = audit_frame(to_arrow(TABLES[name], rows), name, parameters)
    assert [(f.expectation, f.detail) for f in found if not f.success] == [
        ("expected_allocation sums to 1", "found 1.2")
    ]


def test_the_platforms_own_notes_cross_no_border_and_have_no_suite(parameters):
    assert audit_frame(to_arrow(TABLES["ops.run_claim"], []), "ops.run_claim", parameters) == []


def test_parameters_are_the_live_variants_and_every_metric_that_is_worked_out(parameters):
    assert parameters["variants"] == ["control", "treatment"]
    assert parameters["variants_and_all"] == ["control", "treatment", "all"]
    assert "latency" in parameters["metrics"]
