"""The analysis plan of a run: what its configuration and its policy have fixed before the numbers are looked at."""

from __future__ import annotations

from exp_platform.config.policy import load_policy
from exp_platform.pipelines.run import Run
from exp_platform.results.plan import AnalysisPlan


def plan_of(run: Run) -> AnalysisPlan:
    """The plan of one run, as of its dt."""
    policy = load_policy(run.project.root, run.experiment.decision_policy)
    return AnalysisPlan(run.experiment, run.metrics, run.dt, run.cutoff, policy.secondaries)
