"""The plan decides the generated rows before any is drawn."""

from dataclasses import replace

import pytest

from exp_platform.config.load import Project
from exp_platform.config.models import Fault, Variant
from exp_platform.errors import ConfigError
from exp_platform.synth.generate import plan_of
from exp_platform.synth.generation import SynthPlan

CHECKOUT = "exp_checkout_button_001"


def test_equal_inputs_have_equal_fingerprints_and_every_change_shows(project: Project) -> None:
    plan = plan_of(project, CHECKOUT)
    fingerprint = plan.fingerprint()["fingerprint"]
    other_arms = plan.experiment.model_copy(update={"exposure_window_hours": 48})
    changed = [
        plan_of(project, CHECKOUT, seed=8),
        plan_of(project, CHECKOUT, faults=[Fault(name="srm")]),
        replace(plan, experiment=other_arms),
        replace(plan, scenario=plan.scenario.model_copy(update={"n_users": 5})),
        replace(plan, metrics=plan.metrics[:1]),
    ]
    assert plan_of(project, CHECKOUT).fingerprint()["fingerprint"] == fingerprint
    assert replace(plan, partitions=9).fingerprint()["fingerprint"] == fingerprint
    assert len({fingerprint, *(p.fingerprint()["fingerprint"] for p in changed)}) == 6


def test_a_seed_given_by_hand_wins_over_the_scenarios(project: Project) -> None:
    assert (plan_of(project, CHECKOUT).seed, plan_of(project, CHECKOUT, seed=0).seed) == (7, 0)


def test_more_days_than_the_experiment_runs_are_refused(project: Project) -> None:
    scenario = project.scenario(CHECKOUT).model_copy(update={"days": 29})
    with pytest.raises(ConfigError, match=r"days: found 29, but the experiment runs 28 days .*lower days or move"):
        SynthPlan(project.experiment(CHECKOUT), scenario)


def test_the_treatment_share_is_split_among_the_treatment_arms_by_their_allocation(project: Project) -> None:
    variants = (
        Variant(id="control", allocation=0.4, is_control=True),
        Variant(id="big", allocation=0.4),
        Variant(id="small", allocation=0.2),
        Variant(id="retired", allocation=0.0),
    )
    experiment = project.experiment(CHECKOUT).model_copy(update={"variants": variants})
    scenario = project.scenario(CHECKOUT).model_copy(update={"treatment_share": 0.6})
    assert SynthPlan(experiment, scenario).arms == (("big", pytest.approx(0.4)), ("small", pytest.approx(0.6)))


def test_outcomes_go_on_until_the_longest_window_is_closed(project: Project) -> None:
    plan = plan_of(project, CHECKOUT)
    window = plan.metrics[0].window.model_copy(update={"end_hours": 30 * 24.0})
    longer = plan.metrics[0].model_copy(update={"window": window})
    until_end = longer.model_copy(update={"window": window.model_copy(update={"end_hours": "experiment"})})
    weeks = [replace(plan, metrics=metrics).weeks_after for metrics in [(), plan.metrics, (longer,), (until_end,)]]
    assert weeks == [2, 2, 5, 4]


def test_users_of_two_experiments_have_different_ids(project: Project) -> None:
    assert plan_of(project, CHECKOUT).user_prefix != plan_of(project, "exp_add_cart_002").user_prefix
