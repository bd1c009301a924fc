"""The experiment of the detection matrix; it is fixed here so that the page changes only with a check or a fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Scenario, Variant
from exp_platform.synth.generation import SynthPlan

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 14
METRICS = ("conversion", "revenue", "sessions")


def detection_plan(project: Project, n_users: int) -> SynthPlan:
    """The plan: two weeks, two arms, 85% of users exposed, a real effect, and three of the shipped metrics."""
    experiment = Experiment(
        experiment_id="exp_detection",
        name="Detection matrix",
        owner="experimentation",
        hypothesis="Every failure is seen.",
        start_ts=START,
        end_ts=START + timedelta(days=DAYS),
        variants=(Variant(id="control", allocation=0.5, is_control=True), Variant(id="treatment", allocation=0.5)),
        analysis_mode="exposed",
        primary_metric="conversion",
        metrics=METRICS,
    )
    scenario = Scenario(
        days=DAYS,
        n_users=n_users,
        exposure_rate=0.85,
        treatment_share=0.5,
        base_conversion=0.10,
        effect_lift_conversion=0.03,
    )
    return SynthPlan(experiment, scenario, project.metrics_of(experiment))
