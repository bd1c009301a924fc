"""A change of excluded days or acknowledged checks has the identity of those tables alone whose rows it can change."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from exp_platform.config.load import Project
from exp_platform.config.models import Acknowledgement, Exclusion
from exp_platform.pipelines.registry import STAGES
from exp_platform.pipelines.run import Run

ID, DT = "exp_checkout_button_001", date(2026, 1, 14)
J1 = {"silver.fact_assignment_canonical"}
MEASURED = {
    "silver.fact_exposure",
    "silver.int_experiment_exposure_validation",
    "gold.fct_experiment_quality_metrics_daily",
}
COHORT = {"gold.fct_experiment_cohort"}
JUDGED = {"exp.analysis_results", "exp.did_pretrend_delta", "exp.did_pretrend_tests", "gold.latest_results"} | {
    f"gold.fct_experiment_{name}" for name in ("statistical_validation", "guardrail_status", "decision")
}
WHO_AND_WHY = {"reason": "lost", "by": "ana"}


def run_with(project: Project, **keys: object) -> Run:
    experiment = project.experiment(ID).model_copy(update=keys)
    return Run(replace(project, experiments=project.experiments | {ID: experiment}), ID, DT, "r")


def hashes(run: Run) -> dict[str, str]:
    """Table -> hash of the configuration that can change it, from J1 on."""
    computing = [stage for stage in STAGES if stage.group != "sources"]
    return {o.table: run.hash_without(o.ignores) for stage in computing for o in stage.outputs}


@pytest.mark.parametrize(
    ("what", "untouched"),
    [("assignments", J1 | MEASURED), ("exposures", J1), ("outcomes", J1 | MEASURED | COHORT)],
)
def test_an_exclusion_changes_the_identity_of_what_it_touches(project: Project, what: str, untouched: set[str]) -> None:
    plain = hashes(run_with(project))
    lost = Exclusion(dates=date(2026, 1, 9), what=what, **WHO_AND_WHY)
    changed = hashes(run_with(project, exclude=(lost,)))
    assert {table for table, found in changed.items() if found == plain[table]} == untouched
    assert set(plain.values()) == {run_with(project).config_hash}


def test_an_acknowledgement_computes_results_and_decision_alone(project: Project) -> None:
    plain = hashes(run_with(project))
    changed = hashes(run_with(project, acknowledge=(Acknowledgement(check="cap", **WHO_AND_WHY),)))
    assert {table for table, found in changed.items() if found != plain[table]} == JUDGED
