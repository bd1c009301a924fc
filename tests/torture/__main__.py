"""Play every scenario against a small real experiment, print what was done, expected and seen, and write the page.

python -m tests.torture --out docs/torture.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.conftest import make_project
from tests.torture.bench import Bench, Outcome, Scenario, play_all
from tests.torture.book import entered, outcomes_of, with_the_rest
from tests.torture.page import page
from tests.torture.scenarios import of_arithmetic, of_spark, of_store
from tests.torture.small_world import small_world
from tests.torture.weak_store import profile_on, store_and_relay
from tests.torture.world import filled_world, kept_world

from exp_platform.config.load import load_project
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.pipelines.registry import stages_for

STAGES = stages_for(False)
NAMES = tuple(stage.name for stage in STAGES)
PARTS: dict[str, Callable[[], Iterator[Scenario]]] = {
    "arithmetic": of_arithmetic,
    "store": of_store,
    "spark": lambda: of_spark(STAGES),
}
Say = Callable[[str], None]


def main() -> None:
    """Play the scenarios; exit code 1 when a row is unexpected."""
    arguments = _parser().parse_args()
    every = {part: list(scenarios()) for part, scenarios in PARTS.items()}
    known = list(outcomes_of(arguments.book, [one for part in every.values() for one in part]))
    names = {outcome.scenario.name for outcome in known if outcome.was_played and outcome.as_expected}

    def wanted(part: str) -> list[Scenario]:
        asked = part in (arguments.part or PARTS) and not (part == "spark" and arguments.no_spark)
        open_ones = [one for one in every[part] if asked and one.name not in names]
        return list(dict.fromkeys(one for words in arguments.only or [""] for one in open_ones if words in one.name))

    outcomes = list(known)
    with tempfile.TemporaryDirectory(prefix="exp_torture_") as folder:
        for outcome in play({part: wanted(part) for part in PARTS}, arguments.last, arguments.world or Path(folder)):
            outcomes.append(outcome)
            if arguments.book is not None:
                entered(arguments.book, outcome)
    if arguments.out is not None:
        rows = with_the_rest(outcomes, [one for part in every.values() for one in part])
        arguments.out.write_text(page(rows, arguments.last), encoding="utf-8")
    latest = {outcome.scenario.name: outcome for outcome in outcomes}.values()
    _end([outcome for outcome in latest if outcome.was_played], sum(map(len, every.values())))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="the page, for example docs/torture.md; none by default")
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORDS",
        help="play scenarios whose name holds these words, in the order of the options",
    )
    parser.add_argument("--last", default=NAMES[-1], choices=NAMES, help="the last stage of the runs with Spark")
    parser.add_argument("--part", action="append", choices=tuple(PARTS), help="play this part; all of them by default")
    parser.add_argument("--no-spark", action="store_true", help="play no stage with Spark")
    parser.add_argument(
        "--book",
        type=Path,
        default=None,
        help="keep outcomes in this file and play what it lacks or what was unexpected",
    )
    parser.add_argument(
        "--world",
        type=Path,
        default=None,
        help="keep the world of the stages with Spark in this folder, or take the one that is there",
    )
    return parser


def _end(played: Sequence[Outcome], of: int) -> None:
    wrong = [outcome.scenario.name for outcome in played if not outcome.as_expected]
    print(f"{len(played)} of {of} scenarios played, {len(wrong)} unexpected{': ' * bool(wrong)}{wrong or ''}")
    sys.exit(1 if wrong else 0)


def play(wanted: Mapping[str, Sequence[Scenario]], last: str, folder: Path) -> Iterator[Outcome]:
    """Play the stages of arithmetic on a disk and in an object store, then all stages in one Spark session."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="exp_torture_") as small:
        if wanted["arithmetic"]:
            bench = Bench(small_world(Path(small) / "disk"))
            bench.prepare()
            say("the small world is ready")
            yield from play_all(bench, wanted["arithmetic"], say)
        if wanted["store"]:
            yield from _in_a_store(wanted["store"], Path(small), say)
    if wanted["spark"]:
        yield from _with_spark(wanted["spark"], NAMES[: NAMES.index(last) + 1], folder, say)


def _in_a_store(wanted: Sequence[Scenario], folder: Path, say: Say) -> Iterator[Outcome]:
    with store_and_relay(folder / "store") as relay:
        profile_on(folder / "clone", relay.port)
        ensure_buckets(load_project(folder / "clone" / "configs" / "dev.yaml"))
        world = small_world(folder / "clone")
        world.relay = relay
        bench = Bench(world)
        bench.prepare()
        say("the small world in an object store is ready")
        yield from play_all(bench, wanted, say)


def _with_spark(wanted: Sequence[Scenario], names: Sequence[str], folder: Path, say: Say) -> Iterator[Outcome]:
    from exp_platform.spark.session import build_spark_session

    plan = tuple(stage for stage in STAGES if stage.name in names)
    spark = build_spark_session("torture", make_project(folder / "session"))
    try:
        if (world := kept_world(folder / "world", spark, plan)) is not None:
            bench = Bench(world)
            bench.recall()
        else:
            bench = Bench(filled_world(folder / "world", spark, plan))
            say("two experiments are published as of the day before")
            bench.prepare()
        say("the day has been run undisturbed")
        yield from play_all(bench, [one for one in wanted if one.begins in bench.states], say)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
