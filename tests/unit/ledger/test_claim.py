"""One run publishes for an experiment at a time."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import Superseded
from exp_platform.lake.catalog import load_handle
from exp_platform.ledger.claim import borrowed, check, claim, current_claim, release

DT = date(2026, 2, 1)
NOW = datetime(2026, 2, 2, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def lake_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("claim"))


def test_the_run_that_claimed_last_holds_the_experiment_and_the_other_is_superseded(lake_project: Project) -> None:
    claim(lake_project, "exp_a", "run_1", DT, "daily", NOW)
    check(lake_project, "exp_a", "run_1")

    claim(lake_project, "exp_a", "run_2", DT, "somebody", NOW)

    check(lake_project, "exp_a", "run_2")
    with pytest.raises(Superseded, match=r"superseded by run run_2 .*run_1 publishes nothing more for exp_a"):
        check(lake_project, "exp_a", "run_1")


def test_experiments_are_claimed_apart(lake_project: Project) -> None:
    claim(lake_project, "exp_b", "run_b", DT, "daily", NOW)
    claim(lake_project, "exp_c", "run_c", DT, "daily", NOW)
    check(lake_project, "exp_b", "run_b")
    check(lake_project, "exp_c", "run_c")


def test_an_experiment_that_nobody_claimed_is_free(lake_project: Project) -> None:
    assert current_claim(lake_project, "exp_nobody") is None
    check(lake_project, "exp_nobody", "any")


def test_a_run_that_starts_again_counts_its_attempts(lake_project: Project) -> None:
    attempts = [claim(lake_project, "exp_d", "run_1", DT, "daily", NOW).attempt for _ in range(3)]
    assert attempts == [1, 2, 3]


def test_a_superseded_run_that_retries_does_not_take_the_experiment_back_from_a_run_at_work(
    lake_project: Project,
) -> None:
    claim(lake_project, "exp_e", "older", DT, "daily", NOW)
    claim(lake_project, "exp_e", "newer", DT, "somebody", NOW)

    with pytest.raises(Superseded, match="superseded by run newer"):
        claim(lake_project, "exp_e", "older", DT, "daily", NOW + timedelta(minutes=5))

    release(lake_project, "exp_e", "newer", NOW + timedelta(minutes=9))
    assert claim(lake_project, "exp_e", "older", DT, "daily", NOW + timedelta(minutes=10)).attempt == 1


def test_a_run_that_died_without_a_word_does_not_hold_its_experiment_for_ever(lake_project: Project) -> None:
    claim(lake_project, "exp_f", "older", DT, "daily", NOW)
    claim(lake_project, "exp_f", "dead", DT, "daily", NOW)
    twelve_hours, moment = timedelta(hours=12), timedelta(microseconds=1)
    with pytest.raises(Superseded, match="superseded by run dead"):
        claim(lake_project, "exp_f", "older", DT, "daily", NOW + twelve_hours - moment)
    assert claim(lake_project, "exp_f", "older", DT, "daily", NOW + twelve_hours).run_id == "older"


def test_a_release_by_a_run_that_does_not_hold_the_experiment_changes_nothing(lake_project: Project) -> None:
    claim(lake_project, "exp_g", "holder", DT, "daily", NOW)
    release(lake_project, "exp_g", "other", NOW)
    held = current_claim(lake_project, "exp_g")
    assert held is not None
    assert (held.run_id, held.released_at) == ("holder", None)


def test_maintenance_borrows_an_idle_experiment_and_gives_it_back(lake_project: Project) -> None:
    claim(lake_project, "exp_h", "run_1", DT, "daily", NOW)
    release(lake_project, "exp_h", "run_1", NOW)
    before = current_claim(lake_project, "exp_h")

    with borrowed(lake_project, "exp_h", "maintenance_1", "maintenance", NOW) as had:
        assert had
        with pytest.raises(Superseded):
            check(lake_project, "exp_h", "run_1")

    assert current_claim(lake_project, "exp_h") == before


def test_maintenance_leaves_an_experiment_alone_while_a_run_is_at_work(lake_project: Project) -> None:
    claim(lake_project, "exp_i", "run_1", DT, "daily", NOW)
    with borrowed(lake_project, "exp_i", "maintenance_1", "maintenance", NOW + timedelta(minutes=1)) as had:
        assert not had
    check(lake_project, "exp_i", "run_1")


def test_a_run_that_claims_while_maintenance_works_keeps_the_experiment(lake_project: Project) -> None:
    with borrowed(lake_project, "exp_j", "maintenance_1", "maintenance", NOW) as had:
        assert had
        claim(lake_project, "exp_j", "run_1", DT, "daily", NOW)
    check(lake_project, "exp_j", "run_1")


def test_of_several_claimants_at_the_same_moment_one_holds_the_experiment(lake_project: Project) -> None:
    load_handle(lake_project, "ops.run_claim")
    runs = [f"run_{i}" for i in range(6)]
    errors: list[BaseException] = []

    def go(run_id: str) -> None:
        try:
            claim(lake_project, "exp_k", run_id, DT, "daily", NOW)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(run_id,)) for run_id in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    held = current_claim(lake_project, "exp_k")
    assert held is not None
    for run_id in set(runs) - {held.run_id}:
        with pytest.raises(Superseded):
            check(lake_project, "exp_k", run_id)


def test_a_claim_by_a_clock_that_was_far_ahead_keeps_maintenance_away_no_longer_than_another(
    lake_project: Project,
) -> None:
    claim(lake_project, "exp_ahead", "run_1", DT, "daily", NOW + timedelta(days=365))
    with borrowed(lake_project, "exp_ahead", "maintenance", "maintenance", NOW) as had:
        assert had
    claim(lake_project, "exp_ahead", "run_2", DT, "daily", NOW + timedelta(hours=1))  # a small step back
    with borrowed(lake_project, "exp_ahead", "maintenance", "maintenance", NOW) as had:
        assert not had
