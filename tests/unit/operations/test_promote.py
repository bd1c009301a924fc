"""New code may publish when published runs, computed again by it, agree in every number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from tests.published_lake import published_lake

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.operations.fingerprints import TableComparison
from exp_platform.operations.past_run import PastRun
from exp_platform.operations.promote import Trial, latest_runs, try_code
from exp_platform.operations.reproduce import Reproduction

TABLE = "exp.analysis_results"
NOW = datetime(2026, 1, 19, tzinfo=UTC)
RUN = PastRun("run_1", "exp_test", date(2026, 1, 18), "c0ffee", "abc", NOW, {}, frozenset())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A lake in which run_1 of exp_test has a decision."""
    return published_lake(tmp_path_factory.mktemp("promote"))[0]


def again(*differing: str) -> Reproduction:
    """The run computed again, with the columns that came out otherwise."""
    return Reproduction(RUN, (TableComparison(TABLE, 6, 6, differing),), ())


def test_the_run_behind_the_latest_decision_is_computed_again(project: Project) -> None:
    asked: list[str] = []

    def compute(run_id: str) -> Reproduction:
        asked.append(run_id)
        return again()

    trial = try_code(project, again=compute)

    assert asked == ["run_1"]
    assert trial.may_publish
    assert trial.text().endswith("1 of 1 runs agree in every number: this code may publish")


def test_code_that_gives_another_number_may_not_publish(project: Project) -> None:
    trial = try_code(project, again=lambda _: again("effect"))
    assert not trial.may_publish
    assert f"DIFFER {TABLE}: 6 rows then, 6 now; columns: effect" in trial.text()
    assert trial.text().endswith("1 of 1 runs differ: read the differences before this code publishes")


def test_one_run_that_differs_among_others_is_enough() -> None:
    assert not Trial("abc", (again(), again("effect"))).may_publish


def test_a_run_that_cannot_be_computed_again_proves_nothing(project: Project) -> None:
    def compute(run_id: str) -> Reproduction:
        raise ConfigError(f"run '{run_id}': its events have expired")

    trial = try_code(project, again=compute)

    assert not trial.may_publish
    assert "left out: run 'run_1': its events have expired" in trial.text()
    assert trial.text().endswith("no published run can be computed again: nothing is known of this code")


def test_an_experiment_that_left_the_registry_is_not_asked_for(project: Project) -> None:
    assert latest_runs(replace(project, experiments={})) == []


def test_no_more_runs_are_computed_than_were_asked_for(project: Project) -> None:
    assert try_code(project, experiments=0, again=lambda _: again("effect")).again == ()
