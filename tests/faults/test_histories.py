"""Histories of raw files and runs at random against a pure model of events and assignments, in `make test-long`.

Short histories on the books alone are part of `make test`: `tests/faults/test_ledger_histories.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.empty_lake import empty_lake
from tests.torture.histories import WEIGHTS, Play, Step, history, shrunk
from tests.torture.model import Model, canonical
from tests.torture.world import World, new_world

from exp_platform.pipelines.registry import BY_NAME

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PLAN = tuple(BY_NAME[name] for name in ("sync_registry", "ingest_events", "build_assignments"))
AT, DAY = datetime(2026, 1, 5, tzinfo=UTC), timedelta(days=1)


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two experiments without events, whose runs end with the assignments."""
    world = new_world(tmp_path_factory.mktemp("histories") / "clone", spark)
    world.plan = PLAN
    empty_lake(world.project)
    world.save("empty")
    return world


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_after_each_step_the_tables_are_those_of_the_model(world: World, seed: int) -> None:
    play(world, seed, 4)


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 300))
def test_after_each_step_of_a_longer_history_the_tables_are_those_of_the_model(world: World, seed: int) -> None:
    play(world, seed, 8)


def play(world: World, seed: int, length: int) -> None:
    """Play the history of a seed; a failing one is shrunk to the steps that its failure needs."""
    steps = history(seed, length)
    if found := list(Play(world).problems(steps)):
        needed = shrunk(steps, lambda some: any(Play(world).problems(some)))
        pytest.fail(f"seed {seed}: {found}; needs only: {', '.join(map(str, needed))}")


@pytest.mark.spark
@pytest.mark.long
def test_an_event_too_many_and_one_that_is_missing_are_seen(world: World) -> None:
    played = Play(world)
    assert list(played.problems(())) == []
    model = played.models[world.two]
    (kept, *_), extra = model.events["outcomes"], ("u99", "revenue", 1.0, AT)
    model.events = model.events | {"outcomes": frozenset((model.events["outcomes"] - {kept}) | {extra})}
    missing, too_many = played.differences()
    assert missing.startswith(f"{world.two}: exp.outcomes: 1 rows missing, such as ('u99', ")
    assert too_many.startswith(f"{world.two}: exp.outcomes: 1 rows too many, such as ('u")


def test_equal_seeds_give_equal_histories_of_every_kind() -> None:
    assert history(7, 50) == history(7, 50) != history(8, 50)
    assert {step.kind for step in history(7, 200)} == set(WEIGHTS)


def test_a_failing_history_is_shrunk_to_the_steps_that_it_needs() -> None:
    steps = [Step("run", number) for number in range(9)]
    tried: list[Sequence[Step]] = []

    def fails(some: Sequence[Step]) -> bool:
        tried.append(some)
        return {2, 7} <= {step.number for step in some}

    assert [step.number for step in shrunk(steps, fails)] == [2, 7]
    assert len(tried) < 40


def test_the_model_keeps_the_assignments_of_the_latest_day_when_an_older_day_is_run() -> None:
    model = Model(AT, AT + 8 * DAY)
    for dataset in ("assignments", "exposures", "outcomes"):
        model.files[dataset, 0, "a"] = []
    model.files["assignments", 0, "a"] = [("u", "b", AT, "user"), ("u", "b", AT, "user"), ("u", "a", AT + DAY, "user")]
    model.finished(date(2026, 1, 6))
    assert model.assignments == {("u", "b", AT, 2, 2, True, False, False)}
    model.finished(date(2026, 1, 5))
    assert model.assignments == {("u", "b", AT, 2, 2, True, False, False)}
    assert len(model.events["assignments"]) == 2, "an event that is there twice counts once"


def test_the_model_takes_the_earliest_event_and_the_smaller_arm_and_sees_the_windows_edges() -> None:
    end = AT + 8 * DAY
    events = [("u", "b", AT, "user"), ("u", "a", AT, "user"), ("v", "a", AT - timedelta(microseconds=1), "user")]
    found = canonical([*events, ("w", "a", end, "user")], end + DAY, AT, end)
    assert {(row[0], row[1], row[-1]) for row in found} == {("u", "a", False), ("v", "a", False), ("w", "a", False)}
    assert {row[0]: row[-2] for row in found} == {"u": False, "v": True, "w": True}
