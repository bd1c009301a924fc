"""Histories at random: files land, change and vanish, runs go forth and back and are killed; a model says what is seen.

A step is a kind and a number from which all its choices are drawn, so that any part of a history is a history: a
failing one is shrunk by leaving out steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.torture.invariants import broken_grains, raw_digests, unaudited
from tests.torture.model import File, Model, Row
from tests.torture.points import killed_at, points_of
from tests.torture.world import COLUMNS, DAY, START, World

from exp_platform.lake.catalog import load_handle
from exp_platform.operations.maintenance import compact, expire

WEIGHTS = {
    "run": 2,
    "next day": 4,
    "late file": 3,
    "re-stated file": 3,
    "deleted file": 2,
    "backfill": 2,
    "killed": 4,
    "configuration": 1,
    "other experiment": 2,
    "maintenance": 1,
}
LAST_DAY = 6
CANONICAL = "silver.fact_assignment_canonical"
SEEN = ("user_id", "variant_id", "assignment_time_utc", "n_assignment_events", "n_variants", "is_conflicted")
SEEN = (*SEEN, "is_outside_window", "is_valid")


@dataclass(frozen=True)
class Step:
    """One thing that happens; its choices are drawn from the number."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


def history(seed: int, length: int) -> tuple[Step, ...]:
    """A history of a length; equal seeds give equal histories.

    >>> history(1, 3) == history(1, 3) != history(2, 3)
    True
    """
    random = Random(seed)
    kinds = random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
    return tuple(Step(kind, random.randrange(1_000_000)) for kind in kinds)


def shrunk(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> tuple[Step, ...]:
    """The history without steps that its failure does not need; `fails` plays a history from the beginning.

    >>> steps = [Step("run", n) for n in range(8)]
    >>> [step.number for step in shrunk(steps, lambda some: {2, 5} <= {step.number for step in some})]
    [2, 5]
    """
    kept, size = list(steps), max(1, len(steps) // 2)
    while True:
        for first in range(0, len(kept), size):
            rest = kept[:first] + kept[first + size :]
            if len(rest) < len(kept) and fails(rest):
                kept = rest
                break
        else:
            if size == 1:
                return tuple(kept)
            size //= 2


@dataclass
class Play:
    """A history that is played in a world, beside the model of each experiment."""

    world: World
    models: dict[str, Model] = field(default_factory=dict)
    day: int = 0
    runs: int = 0

    def problems(self, steps: Sequence[Step]) -> Iterator[str]:
        """One sentence for each difference from the model, after the first step that shows one."""
        self.world.restore("empty")
        self.world.configure(self.world.one, alpha=0.05)
        self.day, self.runs, end = 0, 0, START + 8 * DAY
        self.models = {name: Model(START, end) for name in (self.world.one, self.world.two)}
        for name in self.models:
            for dataset in COLUMNS:
                self._land(name, dataset, Random(dataset), "first.parquet", self.day)
            self._run(name)
        for number, step in enumerate(steps, 1):
            self._happens(step, Random(step.number))
            found = list(self.differences())
            if found:
                yield from (f"after step {number}, {step}: {sentence}" for sentence in found)
                return

    def _happens(self, step: Step, random: Random) -> None:
        one = self.world.one
        if step.kind == "next day":
            self.day = min(self.day + 1, LAST_DAY)
        if step.kind in ("next day", "late file", "killed"):
            day = random.randrange(self.day + 1) if step.kind == "late file" else self.day
            self._land(one, random.choice(list(COLUMNS)), random, f"{step.number}.parquet", day)
        if step.kind in ("re-stated file", "deleted file"):
            self._change(random, step.kind == "deleted file")
        if step.kind == "configuration":
            self.world.configure(one, alpha=random.choice([0.01, 0.02, 0.05]))
        if step.kind == "maintenance":
            self._maintain()
        if step.kind == "other experiment":
            self._land(self.world.two, random.choice(list(COLUMNS)), random, f"{step.number}.parquet", self.day)
            self._run(self.world.two)
        else:
            self._run(
                one,
                day=random.randrange(self.day + 1) if step.kind == "backfill" else self.day,
                killed=random if step.kind == "killed" else None,
            )

    def _run(self, experiment_id: str, day: int | None = None, killed: Random | None = None) -> None:
        self.runs += 1
        dt = (START + (self.day if day is None else day) * DAY).date()
        run = self.world.run(f"run_{self.runs}", dt, experiment_id)
        if killed is None:
            self.world.stages(run)
        else:
            stage = killed.choice(self.world.plan)
            self.world.stages(run, self.world.plan[: self.world.plan.index(stage)])
            killed_at(self.world, run, stage, killed.choice(points_of(stage)))
            self.world.rest(run, stage)
        self.models[experiment_id].finished(dt)

    def _land(self, experiment_id: str, dataset: str, random: Random, name: str, day: int) -> None:
        self._write(experiment_id, (dataset, day, name), list(rows_at_random(dataset, random, day)))

    def _write(self, experiment_id: str, file: File, rows: list[Row]) -> None:
        dataset, day, name = file
        self.world.land(experiment_id, dataset, day, rows, name)
        self.models[experiment_id].files[file] = rows

    def _change(self, random: Random, delete: bool) -> None:
        """A file loses a row, or vanishes; the first file of each dataset stays."""
        files = self.models[self.world.one].files
        changeable = sorted(file for file in files if file[2] != "first.parquet")
        if not changeable:
            return
        file = random.choice(changeable)
        if delete:
            self.world.raw(self.world.one, file[0], file[1], file[2]).unlink()
            del files[file]
        elif len(files[file]) > 1:
            self._write(self.world.one, file, files[file][:-1])

    def _maintain(self) -> None:
        assert self.world.spark is not None
        now = datetime.now(UTC)
        compact(self.world.project, self.world.spark, f"maintenance_{self.runs}", now, lambda _: None)
        tables = {table for stage in self.world.plan for table in stage.publishes}
        expire(self.world.project, self.world.spark, now + timedelta(days=30), log=lambda _: None, tables=tables)

    def differences(self) -> Iterator[str]:
        """One sentence for each difference between the lake and the models."""
        yield from broken_grains(self.world)
        raw = raw_digests(self.world)
        for name, model in self.models.items():
            written = sum(1 for path in raw if f"/{name}/" in path and path.endswith(".parquet"))
            if written != len(model.files):
                yield f"{name}: {written} raw files, {len(model.files)} were written"
            for dataset, columns in COLUMNS.items():
                yield from _unlike(self._stored(f"exp.{dataset}", name, ("user_id", *columns)), model.events[dataset])
            yield from _unlike(self._stored(CANONICAL, name, SEEN), model.assignments)
            yield from unaudited(self.world, name)

    def _stored(self, table: str, name: str, columns: Sequence[str]) -> tuple[str, list[Row]]:
        scan = load_handle(self.world.project, table).scan(row_filter=f"experiment_id = '{name}'")
        rows = scan.to_arrow().select(list(columns)).to_pylist()
        return f"{name}: {table}", [tuple(row[column] for column in columns) for row in rows]


def rows_at_random(dataset: str, random: Random, day: int) -> Iterator[Row]:
    """Events of a day at random times, also at its first instant, of twelve users who sometimes change their arm."""
    for _ in range(random.randrange(2, 9)):
        number = random.randrange(12)
        at = START + day * DAY + random.choice([0, 1]) * timedelta(seconds=random.randrange(86_400))
        arm = ("control", "treatment")[(number + (random.random() < 0.1)) % 2]
        row: dict[str, Any] = {
            "assignments": (f"u{number}", arm, at, "user"),
            "exposures": (f"u{number}", arm, at, "user"),
            "outcomes": (f"u{number}", random.choice(["revenue", "sessions"]), random.choice([0.0, 1.0, 0.1]), at),
        }
        yield row[dataset]
        if random.random() < 0.1:
            yield row[dataset]


def _unlike(stored: tuple[str, list[Row]], wanted: frozenset[Row]) -> Iterator[str]:
    what, rows = stored
    if len(rows) != len(set(rows)):
        yield f"{what}: {len(rows) - len(set(rows))} rows are there twice"
    for word, some in (("missing", wanted - set(rows)), ("too many", set(rows) - wanted)):
        if some:
            yield f"{what}: {len(some)} rows {word}, such as {min(some, key=repr)}"
