"""Days at random, one after the other: J1 to J5 say what a full refresh of another lake with the same events says.

Between two runs events come in, late, early or of the day; a dataset is re-stated; another experiment lands and runs; a
table is compacted, rolled back or loses its history; a run dies after some publication; the day goes on by any number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.lakes import Lake
from tests.sessions import session_for

from exp_platform.lake.publication import Origin, fence_of
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.staging import commit_staged, discard, stage
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import to_arrow
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.context import open_stage
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.record import StageRecord
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_stage import audit_of

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ONE, TWO = "exp_checkout_button_001", "exp_checkout_button_002"
START, DAY = datetime(2026, 1, 5, tzinfo=UTC), timedelta(days=1)
STAGES = ("build_assignments", "validate_exposures", "build_unit_outcomes", "aggregate_metrics")
ANSWERS = tuple(table for stage in STAGES for table in BY_NAME[stage].publishes)
COLUMNS = {
    "assignments": ("user_id", "variant", "assignment_ts", "unit"),
    "exposures": ("user_id", "variant", "exposure_ts", "unit"),
    "outcomes": ("user_id", "metric_name", "value", "outcome_ts"),
    "attributes": ("user_id", "dimension", "value", "attribute_ts"),
}
AUDITED = 4  # the suites look at every fourth run: its rows are those of a full refresh, and hold what was reused since
Row = tuple[Any, ...]


class Died(Exception):
    """A run that ends after one of its publications."""


@dataclass
class World:
    """Two lakes with the same events of one experiment; only the daily one has another, and misfortunes."""

    random: Random
    daily: Lake
    whole: Lake
    sources: list[str]
    day: int = -1  # since the start
    runs: int = 0
    known: dict[str, set[Row]] = field(default_factory=lambda: {dataset: set() for dataset in COLUMNS})
    told: list[str] = field(default_factory=list)  # what has happened, for the reader of a failure

    def step(self) -> None:
        """Something happens, perhaps a run dies; then both lakes say the same."""
        self.runs += 1
        self.day += self.random.choice([1, 1, 1, 2, 0]) + (7 if self.random.random() < 0.12 else 0)
        self.land_events()
        for chance, happens in MISFORTUNES:
            if self.random.random() < chance:
                self.told.append(f"{self.runs}: {happens.__name__}")
                happens(self)
        dt = START.date() + self.day * DAY
        self.told.append(f"{self.runs}: run of {dt}")
        said = answers(self.daily, dt, f"run {self.runs}", audited=self.runs % AUDITED == 0)
        expected = answers(self.whole, dt, f"run {self.runs}", full_refresh=True)
        for table in ANSWERS:
            assert said[table] == expected[table], (table, self.told)

    def land_events(self) -> None:
        """Land events of today, in the first run also of some days before; some events are late and some early."""
        for dataset in COLUMNS:
            if self.runs > 1 and self.random.random() < 0.5:
                continue
            late = self.random.random() < 0.3
            first, last = (-10, 4) if self.runs == 1 else (-14, self.day + 3) if late else (self.day, self.day + 2)
            many = 60 if self.runs == 1 else self.random.choice([1, 2, 30])
            rows = set(self.rows(dataset, many, first, last)) - self.known[dataset]
            self.known[dataset] |= rows
            for lake in (self.daily, self.whole):
                land(lake, dataset, sorted(rows, key=repr), "append")
            self.told.append(f"{self.runs}: {len(rows)} {dataset} from day {first} to {last}")

    def rows(self, dataset: str, many: int, first: int, last: int) -> Iterator[Row]:
        """Events at random, also at midnight, also of the wrong arm."""
        for _ in range(many):
            number = self.random.randrange(40)
            at = START + self.random.randrange(first, max(first + 1, last)) * DAY
            if self.random.random() > 0.15:
                at += timedelta(microseconds=self.random.randrange(86_400_000_000))
            arm = ("control", "treatment")[(number + (self.random.random() < 0.03)) % 2]
            value = self.random.choice([0.0, 1.0, self.random.random() * 100, -self.random.random()])
            yield {
                "assignments": (f"u{number}", arm, at, "user"),
                "exposures": (f"u{number}", arm, at, "user"),
                "outcomes": (f"u{number}", self.random.choice(self.sources), value, at),
                "attributes": (f"u{number}", "country", self.random.choice(["DE", "FR"]), at),
            }[dataset]

    def restate(self) -> None:
        """A dataset loses some of its events."""
        dataset = self.random.choice(list(COLUMNS))
        self.known[dataset] = {row for row in sorted(self.known[dataset], key=repr) if self.random.random() > 0.1}
        for lake in (self.daily, self.whole):
            land(lake, dataset, sorted(self.known[dataset], key=repr), "overwrite")

    def another_experiment(self) -> None:
        """It lands and runs in the same tables."""
        for dataset in COLUMNS:
            land(self.daily, dataset, list(dict.fromkeys(self.rows(dataset, 5, -3, 8))), "append", TWO)
        answers(self.daily, START.date() + self.day * DAY, f"other {self.runs}", experiment_id=TWO)

    def compact(self) -> None:
        """The files of a table are rewritten."""
        table = self.random.choice(["exp.outcomes", "exp.assignments", "exp.exposures", *ANSWERS])
        self.call(f"rewrite_data_files(table => 'iceberg.{table}', options => map('rewrite-all', 'true'))")

    def roll_back(self) -> None:
        """A table is as it was some commits ago."""
        handle = self.daily.handle(table := self.random.choice(ANSWERS))
        there, snapshot = [], handle.current_snapshot()
        while snapshot is not None and len(there) < 6:
            there.append(snapshot.snapshot_id)
            snapshot = handle.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
        self.call(f"rollback_to_snapshot('iceberg.{table}', {self.random.choice(there)})")

    def forget(self) -> None:
        """A table loses its history."""
        table = self.random.choice([*ANSWERS, "exp.outcomes", "exp.exposures"])
        older = "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1"
        self.call(f"expire_snapshots(table => 'iceberg.{table}', {older})")

    def die(self) -> None:
        """A run ends after some publication."""
        with pytest.raises(Died), dies_after(self.random.randrange(1, 10)):
            answers(self.daily, START.date() + self.day * DAY, f"died {self.runs}")

    def call(self, procedure: str) -> None:
        """Call one of Iceberg's procedures."""
        self.daily.spark.sql(f"CALL iceberg.system.{procedure}").collect()


MISFORTUNES: tuple[tuple[float, Callable[[World], None]], ...] = (
    (0.12, World.restate),
    (0.3, World.another_experiment),
    (0.2, World.compact),
    (0.15, World.roll_back),
    (0.12, World.forget),
    (0.2, World.die),
)


def land(lake: Lake, dataset: str, rows: list[Row], mode: Any, experiment_id: str = ONE) -> None:
    """Append events, or put them in the place of all, as ingest does."""
    if not rows and mode == "append":
        return
    table = TABLES[f"exp.{dataset}"]
    rest = {"experiment_id": experiment_id, "source_file": "f", "ingested_at": START}
    events = to_arrow(table, [rest | dict(zip(COLUMNS[dataset], row, strict=True)) for row in rows])
    handle, scope = lake.handle(table.name), Scope(experiment_id, START.date())
    staged = stage(lake.spark.createDataFrame(events), table, scope, handle, fence_of(handle, "main"))
    try:
        commit_staged(staged, mode, Origin("land", "ingest_events", START.date(), "config", "code").summary())
    finally:
        discard(staged)


def answers(
    lake: Lake, dt: date, run_id: str, experiment_id: str = ONE, audited: bool = False, **options: Any
) -> dict[str, list[str]]:
    """Run J1 to J5; the answer columns of their tables as later stages read them."""
    claim(lake.project, experiment_id, run_id, dt, "test")
    said = {}
    for name in STAGES:
        run = Run(lake.project, experiment_id, dt, run_id, Options(**options))
        session, audit = Session.given(lake.spark), audit_of if audited else None
        with open_stage(run, BY_NAME[name], session=session, audit=audit, say=lambda _: None) as ctx:
            BY_NAME[name].run(ctx)
            for table in BY_NAME[name].publishes:
                rows = ctx.read.arrow(table, TABLES[table].answer_columns).to_pylist(maps_as_pydicts="strict")
                said[table] = sorted(map(repr, rows))
    return said


@contextmanager
def dies_after(publications: int) -> Iterator[None]:
    """No more than so many publications are recorded."""
    left = iter(range(publications))

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any, **options: Any) -> None:
            original(*arguments, **options)
            if next(left, None) is None:
                raise Died

        return record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageRecord, "landed", counted(StageRecord.landed))
        yield


def a_lake(spark: Any, folder: Path, **changes: Any) -> Lake:
    """An empty one with two experiments."""
    project = make_project(folder)
    known = project.experiment(ONE)
    one = known.model_copy(update={"start_ts": START, "end_ts": START + 12 * DAY, **changes})
    two = known.model_copy(update={"experiment_id": TWO, "analysis_mode": "itt", "dimensions": ()})
    project = replace(project, experiments={ONE: one, TWO: two})
    empty_lake(project)
    return Lake(project, session_for(spark, project))


ITT = {"analysis_mode": "itt", "dimensions": ("country",)}
FEW = {"metrics": ("conversion", "revenue", "latency_p90", "revenue_per_session"), "guardrails": ()}
EXPOSED = {"analysis_mode": "exposed", "exposure_window_hours": 72, "dimensions": ()}
FROM_EXPOSURES = {"analysis_mode": "itt", "assignment_source": "exposures", "dimensions": ()}
LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("seed", "days", "changes"),
    [
        pytest.param(1, 4, EXPOSED | FEW, id="few days"),
        pytest.param(2, 20, ITT, id="itt", marks=LONG),
        pytest.param(3, 20, EXPOSED, id="exposed", marks=LONG),
        pytest.param(4, 20, FROM_EXPOSURES, id="assigned by exposures", marks=LONG),
    ],
)
def test_each_day_says_what_a_full_refresh_says(
    spark: Any, tmp_path: Path, seed: int, days: int, changes: dict[str, Any]
) -> None:
    daily, whole = (a_lake(spark, tmp_path / name, **changes) for name in ("daily", "whole"))
    metrics = daily.project.metrics_of(daily.project.experiment(ONE))
    world = World(Random(seed), daily, whole, sorted({source for metric in metrics for source in metric.sources}))
    for _ in range(days):
        world.step()
