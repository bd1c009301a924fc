"""Faults as people name them."""

import pytest

from exp_platform.config.load import Project
from exp_platform.config.models import Fault
from exp_platform.errors import ConfigError
from exp_platform.synth.generate import plan_of
from exp_platform.synth.planted_faults import FAULTS, parse_fault, resolve_faults

PROMISED = {
    *("broken_exposure_logging", "pre_assignment_exposure", "variant_mismatch", "multi_variation_exposure"),
    *("late_exposure", "srm", "duplicate_events", "missing_day", "bots", "null_user_ids", "unknown_variant"),
    *("schema_drift", "out_of_order_timestamps", "timezone_shift", "clock_skew", "empty_dataset", "corrupt_parquet"),
    *("non_parallel_pre_period", "reused_user_ids_across_experiments"),
}


def test_every_promised_fault_is_there_and_says_what_it_does() -> None:
    assert set(FAULTS) >= PROMISED
    assert all(kind.what.endswith(".") and 0 < kind.size <= 1 for kind in FAULTS.values())
    assert all((kind.rows is None) != (kind.files is None) for kind in FAULTS.values())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("srm", {"name": "srm"}),
        ("srm:0.1", {"name": "srm", "size": 0.1}),
        ("missing_day:1.0:3,5-7", {"name": "missing_day", "size": 1.0, "days": (3, 5, 6, 7)}),
        ("missing_day::4", {"name": "missing_day", "days": (4,)}),
    ],
)
def test_a_fault_is_name_size_and_days(text: str, fault: dict[str, object]) -> None:
    assert parse_fault(text).model_dump(exclude_unset=True) == fault


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("broken_exposure_loging", "did you mean 'broken_exposure_logging'"),
        ("srm:big", "SIZE is a share such as 0.2"),
        ("srm:0.1:monday", "DAYS are numbers such as 3,5-7"),
        ("srm:0.1:1:2", "expected NAME"),
    ],
)
def test_a_fault_that_nobody_knows_or_can_read_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_fault(text)


def test_what_is_not_said_is_the_faults_usual_size_and_days(project: Project) -> None:
    plan = plan_of(project, "exp_checkout_button_001", faults=[Fault(name="missing_day"), Fault(name="bots")])
    assert [(f.size, f.days) for f in plan.faults] == [(1.0, (14,)), (0.0005, ())]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(name="srm", size=1.5), "size: found 1.5, must be a share from 0 to 1"),
        (Fault(name="srm", days=(28,)), r"days: found \[28\], must be 0 to 27"),
        (Fault(name="srn"), "did you mean 'srm'"),
    ],
)
def test_a_fault_outside_the_scenario_is_refused(project: Project, fault: Fault, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve_faults([fault], plan_of(project, "exp_checkout_button_001"))
