"""Play every scenario against a small real experiment, print what was done, expected and seen, and write the page.

python -m tests.torture --out docs/torture.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import make_project
from tests.torture.bench import Bench, Outcome, play_all
from tests.torture.page import page
from tests.torture.scenarios import of_arithmetic, of_spark
from tests.torture.small_world import small_world
from tests.torture.world import filled_world

from exp_platform.pipelines.registry import stages_for

NAMES = tuple(stage.name for stage in stages_for(False))


def main() -> None:
    """Play the scenarios; exit code 1 when a row is unexpected."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="the page, for example docs/torture.md; none by default")
    parser.add_argument("--only", action="append", metavar="WORDS", help="play scenarios whose name holds these words")
    parser.add_argument("--last", default=NAMES[-1], choices=NAMES, help="the last stage of the runs with Spark")
    parser.add_argument("--no-spark", action="store_true", help="play only the stages of arithmetic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exp_torture_") as folder:
        outcomes = play(arguments.only or [""], arguments.last, not arguments.no_spark, Path(folder))
    if arguments.out is not None:
        arguments.out.write_text(page(outcomes), encoding="utf-8")
    played = [outcome for outcome in outcomes if outcome.was_played]
    wrong = [outcome.scenario.name for outcome in played if not outcome.as_expected]
    print(
        f"{len(played)} of {len(outcomes)} scenarios played, {len(wrong)} unexpected{': ' * bool(wrong)}{wrong or ''}"
    )
    sys.exit(1 if wrong else 0)


def play(only: Sequence[str], last: str, with_spark: bool, folder: Path) -> list[Outcome]:
    """Play the stages of arithmetic, then all stages in one Spark session, each in a world of its own."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    outcomes: list[Outcome] = []
    wanted = [scenario for scenario in of_arithmetic() if any(words in scenario.name for words in only)]
    if wanted:
        bench = Bench(small_world(folder / "small"))
        bench.prepare()
        say("the small world is ready")
        outcomes += play_all(bench, wanted, say)
    if with_spark:
        outcomes += _with_spark(only, NAMES[: NAMES.index(last) + 1], folder, say)
    return outcomes


def _with_spark(only: Sequence[str], names: Sequence[str], folder: Path, say) -> list[Outcome]:  # type: ignore[no-untyped-def]
    from exp_platform.spark.session import build_spark_session

    stages = [stage for stage in stages_for(False) if stage.name in names]
    wanted = [scenario for scenario in of_spark(stages) if any(words in scenario.name for words in only)]
    if not wanted:
        return []
    spark = build_spark_session("torture", make_project(folder / "session"))
    try:
        bench = Bench(filled_world(folder / "world", spark, tuple(stages)))
        say("two experiments are published as of the day before")
        bench.prepare()
        say("the day has been run undisturbed")
        return play_all(bench, wanted, say)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
