"""The fast scenarios of `make torture`, on the stages that need no Spark; and the checker sees broken promises."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tests.torture import processes, stores
from tests.torture.bench import Bench, Outcome, Scenario
from tests.torture.book import entered, outcomes_of, with_the_rest
from tests.torture.invariants import broken, broken_grains, unaudited
from tests.torture.page import page
from tests.torture.small_world import small_world

from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.pipelines.registry import BY_NAME

J6 = (BY_NAME["analyze_results"],)
J8 = (BY_NAME["check_guardrails"],)
FAST = [
    *processes.kills(J6, ("after the data files", "after the commit")),
    *processes.kills(J8, ("before the manifest",)),
    *processes.stood_still(J6),
    *processes.lost_answers(J6),
    *(scenario for scenario in stores.stores(J6, locked_seconds=2.0) if "read-only" not in scenario.name),
]
RESULTS = "exp.analysis_results"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A small world with its saved states."""
    bench = Bench(small_world(tmp_path_factory.mktemp("torture")))
    bench.prepare()
    return bench


@pytest.mark.slow
@pytest.mark.parametrize("scenario", FAST, ids=lambda scenario: scenario.name)
def test_after_the_harm_every_promise_holds(bench: Bench, scenario: Scenario) -> None:
    outcome = bench.play(scenario)
    if not outcome.was_played:
        pytest.skip(outcome.seen)
    assert (outcome.seen, outcome.broken) == (scenario.expected, ())


@pytest.mark.slow
def test_the_checker_sees_rows_files_audits_and_books_that_are_wrong(bench: Bench) -> None:
    world, done = bench.world, bench.states["done"]
    world.restore("done")
    run = world.run()
    assert list(broken(world, run, done, done.of(world.one), world.plan)) == []

    handle = load_handle(world.project, RESULTS)
    rows = handle.scan().to_arrow()
    handle.append(rows.slice(0, 1))  # one row of either experiment twice
    handle.append(rows.filter(pa.compute.equal(rows["experiment_id"], world.two)).slice(0, 1))
    raw = Path(world.project.resolve(world.project.profile.raw_root)) / "new.parquet"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_bytes(b"x")
    key = {"experiment_id": world.one, "run_id": run.run_id}
    replace_rows(world.project, "ops.contract_results", key | {"table": RESULTS}, [])
    replace_rows(world.project, "ops.run_manifest", key | {"table": "gold.fct_experiment_decision"}, [])

    found = "\n".join(broken(world, run, done, done.of(world.one), world.plan))
    assert "raw file new.parquet was changed" in found
    assert f"{RESULTS}: another experiment's rows" in found
    assert any(sentence.startswith(f"{RESULTS}: 2 rows share their grain") for sentence in broken_grains(world))
    assert "has no recorded audit" in found and all(RESULTS in sentence for sentence in unaudited(world, world.one))
    assert "manifest: gold.fct_experiment_decision is not recorded as published" in found


def test_the_page_marks_what_was_not_expected() -> None:
    (scenario, *_) = FAST
    text = page(
        [
            Outcome(scenario, scenario.expected, (), 1.0, 2.0),
            Outcome(scenario, "exit 0", ("t: 2 rows share their grain",), 1.0, 3.0),
            Outcome(scenario, "not played: no tmpfs", (), 0.0, was_played=False),
        ]
    )
    assert "2 scenarios played, 1 unexpected, 1 not played." in text
    assert "exit 0; **broken: t: 2 rows share their grain** ✗ |" in text
    assert "| killed drivers | 2 | 5 | 2.5 |" in text


def test_a_book_keeps_the_last_outcome_of_each_scenario_and_the_page_says_which_were_not_played(tmp_path: Path) -> None:
    first, second, third = FAST[:3]
    book = tmp_path / "book.jsonl"
    assert list(outcomes_of(book, FAST)) == []
    for outcome in (
        Outcome(second, "exit 0", ("t: 2 rows share their grain",), 2.0, 4.0),
        Outcome(first, first.expected, (), 1.0, 4.0),
        Outcome(second, second.expected, (), 3.0),
    ):
        entered(book, outcome)
    kept = list(outcomes_of(book, FAST))
    assert kept == [Outcome(first, first.expected, (), 1.0, 4.0), Outcome(second, second.expected, (), 3.0)]
    every = list(with_the_rest(kept, [third, first, second]))
    assert [outcome.was_played for outcome in every] == [False, True, True]
    assert "2 scenarios played, 0 unexpected, 1 not played." in page(every)
