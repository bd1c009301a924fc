"""A bench plays scenarios in a world, each from a saved state, and checks every promise after each."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.processor_time import of_tree
from tests.torture.invariants import Seen, broken, look
from tests.torture.world import World

from exp_platform.lake.catalog import load_handle
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run
from exp_platform.version import code_version


class NotPossible(Exception):
    """This machine does not let a scenario be done; the text says why."""


@dataclass(frozen=True)
class Scenario:
    """One harm, from a saved state, and what must be seen."""

    group: str
    name: str
    done: str
    expected: str
    begins: str  # the saved state
    act: Callable[[Bench], tuple[str, Run]]  # does the harm and finishes a run: what was seen, and that run
    may_differ: tuple[str, ...] = ()  # tables whose rows the scenario changes on purpose
    changes_raw: bool = False
    last: Stage | None = None  # the stage with which the run ends; None: it goes on to its end


@dataclass(frozen=True)
class Outcome:
    """A played scenario."""

    scenario: Scenario
    seen: str
    broken: tuple[str, ...]  # one sentence for each broken promise
    seconds: float  # by the clock
    processor: float = 0.0  # seconds of processor, those of the JVM included
    was_played: bool = True
    code: str = field(default_factory=code_version)  # the code that it was played with

    @property
    def as_expected(self) -> bool:
        """True when what was seen was expected and no promise is broken."""
        return not self.was_played or (self.seen == self.scenario.expected and not self.broken)


@dataclass
class Bench:
    """A world with its saved states, and what was seen in each of them."""

    world: World
    states: dict[str, Seen] = field(default_factory=dict)

    def prepare(self) -> None:
        """Run the day undisturbed, and save the state before each stage (`before <stage>`) and at the end (`done`)."""
        for stage in self.world.plan:
            self._save(f"before {stage.name}")
            self.world.stages(self.world.run(), [stage])
        self._save("done")

    def recall(self) -> None:
        """Look at the states that an earlier sitting has saved."""
        for name in (*(f"before {stage.name}" for stage in self.world.plan), "done"):
            self.world.restore(name)
            self.states[name] = look(self.world)

    def play(self, scenario: Scenario) -> Outcome:
        """Play one scenario."""
        world, began, spent = self.world, time.monotonic(), of_tree(os.getpid())
        world.restore(scenario.begins)
        before = self.states[scenario.begins]
        try:
            seen, run = scenario.act(self)
        except NotPossible as reason:
            return Outcome(scenario, f"not played: {reason}", (), 0.0, was_played=False)
        except Exception as error:
            traceback.print_exc()
            return Outcome(scenario, f"the scenario failed: {type(error).__name__}: {error}", (), 0.0)
        if scenario.changes_raw:
            before = Seen(look(world).raw, before.rows)
        last = scenario.last or world.plan[-1]
        expected = self.states[self._after(last)].of(world.one)
        kept = {table: digest for table, digest in expected.items() if table not in scenario.may_differ}
        found = tuple(broken(world, run, before, kept, world.up_to(last)))
        processor = of_tree(os.getpid()) - spent
        return Outcome(scenario, seen, found, time.monotonic() - began, processor)

    def half_published(self, stage: Stage) -> Iterator[str]:
        """Tables of a stopped stage that show neither the rows before the stage nor those after it."""
        before, after = (self.states[name].of(self.world.one) for name in (f"before {stage.name}", self._after(stage)))
        now = look(self.world).of(self.world.one)
        for table in sorted(now):
            if now[table] not in (before[table], after[table]):
                yield f"{table} is neither as before nor as after {stage.name}"

    def leftovers(self, stage: Stage) -> Iterator[str]:
        """Staging branches that a stopped stage has left, and data files that no snapshot holds."""
        for table in stage.publishes:
            handle = load_handle(self.world.project, table)
            yield from (f"{table}: {ref}" for ref in handle.metadata.refs if ref.startswith("staging_"))
            manifests = [m for snapshot in handle.metadata.snapshots for m in snapshot.manifests(handle.io)]
            held = {Path(one.data_file.file_path).name for m in manifests for one in m.fetch_manifest_entry(handle.io)}
            folder = Path(handle.location().removeprefix("file://"))
            files = [path for path in folder.glob("data/**/*.parquet") if path.name not in held]
            yield from [f"{table}: {len(files)} data files"] * bool(files)

    def _after(self, stage: Stage) -> str:
        place = self.world.plan.index(stage) + 1
        return f"before {self.world.plan[place].name}" if place < len(self.world.plan) else "done"

    def _save(self, name: str) -> None:
        self.world.save(name)
        self.states[name] = look(self.world)


def play_all(bench: Bench, scenarios: Iterable[Scenario], say: Callable[[str], None] = print) -> Iterator[Outcome]:
    """Play scenarios and say of each what was done, expected and seen."""
    for scenario in scenarios:
        outcome = bench.play(scenario)
        mark = "ok  " if outcome.as_expected and outcome.was_played else "skip" if outcome.as_expected else "WRONG"
        say(f"{mark} {outcome.processor:5.1f} processor s  {scenario.name}")
        say(f"       done: {scenario.done}; expected: {scenario.expected}; seen: {outcome.seen}")
        for sentence in outcome.broken:
            say(f"       BROKEN {sentence}")
        yield outcome
