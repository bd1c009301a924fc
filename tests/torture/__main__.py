"""Play every scenario against a small real experiment, print what was done, expected and seen, and write the page.

python -m tests.torture --out docs/torture.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.conftest import make_project
from tests.torture.bench import Bench, Outcome, Scenario, play_all
from tests.torture.book import entered, outcomes_of, with_the_rest
from tests.torture.page import page
from tests.torture.scenarios import of_arithmetic, of_spark
from tests.torture.small_world import small_world
from tests.torture.world import filled_world

from exp_platform.pipelines.registry import stages_for

STAGES = stages_for(False)
NAMES = tuple(stage.name for stage in STAGES)
Say = Callable[[str], None]


def main() -> None:
    """Play the scenarios; exit code 1 when a row is unexpected."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="the page, for example docs/torture.md; none by default")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORDS",
        help="play scenarios whose name holds these words, in the order of the options",
    )
    parser.add_argument("--last", default=NAMES[-1], choices=NAMES, help="the last stage of the runs with Spark")
    parser.add_argument("--no-spark", action="store_true", help="play only the stages of arithmetic")
    parser.add_argument(
        "--book", type=Path, default=None, help="keep outcomes in this file and play only what it lacks"
    )
    arguments = parser.parse_args()
    arithmetic, spark = list(of_arithmetic()), list(of_spark(STAGES))
    outcomes = list(outcomes_of(arguments.book, [*arithmetic, *spark]))
    known = {outcome.scenario.name for outcome in outcomes}

    def wanted(scenarios: Sequence[Scenario]) -> list[Scenario]:
        open_ones = [scenario for scenario in scenarios if scenario.name not in known]
        named = (one for words in arguments.only or [""] for one in open_ones if words in one.name)
        return list(dict.fromkeys(named))

    with tempfile.TemporaryDirectory(prefix="exp_torture_") as folder:
        for outcome in play(
            wanted(arithmetic), wanted([] if arguments.no_spark else spark), arguments.last, Path(folder)
        ):
            outcomes.append(outcome)
            if arguments.book is not None:
                entered(arguments.book, outcome)
    if arguments.out is not None:
        text = page(with_the_rest(outcomes, [*arithmetic, *spark]), arguments.last)
        arguments.out.write_text(text, encoding="utf-8")
    _end([outcome for outcome in outcomes if outcome.was_played], len(arithmetic) + len(spark))


def _end(played: Sequence[Outcome], of: int) -> None:
    wrong = [outcome.scenario.name for outcome in played if not outcome.as_expected]
    print(f"{len(played)} of {of} scenarios played, {len(wrong)} unexpected{': ' * bool(wrong)}{wrong or ''}")
    sys.exit(1 if wrong else 0)


def play(arithmetic: Sequence[Scenario], spark: Sequence[Scenario], last: str, folder: Path) -> Iterator[Outcome]:
    """Play the stages of arithmetic, then all stages in one Spark session, each in a world of its own."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    if arithmetic:
        bench = Bench(small_world(folder / "small"))
        bench.prepare()
        say("the small world is ready")
        yield from play_all(bench, arithmetic, say)
    if spark:
        yield from _with_spark(spark, NAMES[: NAMES.index(last) + 1], folder, say)


def _with_spark(wanted: Sequence[Scenario], names: Sequence[str], folder: Path, say: Say) -> Iterator[Outcome]:
    from exp_platform.spark.session import build_spark_session

    plan = tuple(stage for stage in STAGES if stage.name in names)
    spark = build_spark_session("torture", make_project(folder / "session"))
    try:
        bench = Bench(filled_world(folder / "world", spark, plan))
        say("two experiments are published as of the day before")
        bench.prepare()
        say("the day has been run undisturbed")
        yield from play_all(bench, [one for one in wanted if _begins_in(bench, one)], say)
    finally:
        spark.stop()


def _begins_in(bench: Bench, scenario: Scenario) -> bool:
    """True when the runs of a bench come to the state in which a scenario begins."""
    return scenario.begins in bench.states


if __name__ == "__main__":
    main()
