"""A small clone with two experiments: it is filled once, saved at named moments, and put back before each scenario."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from tests.conftest import make_project
from tests.sessions import session_for

from exp_platform.config.load import Project, load_project
from exp_platform.ledger.claim import release
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import Stage, stages_for
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_stage import run_stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ONE, TWO = "exp_torture_one", "exp_torture_two"
START, DAY = datetime(2026, 1, 5, tzinfo=UTC), timedelta(days=1)
DT = date(2026, 1, 8)  # the day whose run is disturbed; the day before has been published
ARMS = ("control", "treatment")
USERS = 120
MOMENT = re.compile(r'("(?:timestamp|last-updated)-ms" ?: ?)(\d+)')  # in Iceberg's metadata
MICROSECONDS = pa.timestamp("us", tz="UTC")
COLUMNS = {
    "assignments": {"variant": pa.string(), "assignment_ts": MICROSECONDS, "unit": pa.string()},
    "exposures": {"variant": pa.string(), "exposure_ts": MICROSECONDS, "unit": pa.string()},
    "outcomes": {"metric_name": pa.string(), "value": pa.float64(), "outcome_ts": MICROSECONDS},
}
Row = tuple[Any, ...]  # an event in the order of COLUMNS, after the user


def quiet(_: str) -> None:
    """Say nothing."""


@dataclass
class World:
    """The clone's project, a session that knows its catalog, and where its saved states lie."""

    project: Project
    dt: date = DT  # the day whose run is disturbed
    one: str = ONE  # the experiment of that run
    two: str = TWO  # another experiment, of which no row may change
    plan: tuple[Stage, ...] = stages_for(False)
    shared: SparkSession | None = field(default=None, repr=False)  # any session of the process
    spark: SparkSession | None = field(default=None, repr=False)
    relay: Any = field(default=None, repr=False)  # what stands before the object store, where the warehouse is one

    def __post_init__(self) -> None:
        self.renew()

    @property
    def saved(self) -> Path:
        """Where saved states lie."""
        return self.project.root / "saved"

    @property
    def data(self) -> Path:
        """Lake, raw zone and memos: Iceberg stores absolute paths, so a saved state goes back to this place."""
        return self.project.root / "data"

    def renew(self) -> None:
        """Open the catalog anew: a connection to a file that was put away would see the old one."""
        if self.shared is not None:
            self.spark = session_for(self.shared, self.project)

    def save(self, name: str) -> None:
        """Keep the present state under a name."""
        shutil.rmtree(self.saved / name, ignore_errors=True)
        shutil.copytree(self.data, self.saved / name)

    def restore(self, name: str) -> None:
        """Put a saved state back."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.saved / name, self.data)
        self.renew()

    def age(self, days: float = 30) -> None:
        """Move all files and snapshots of the lake into the past, as if days had gone by since they were written.

        Iceberg asks the machine's clock whether a branch or an orphan may go; only the past can be changed.
        """
        earlier = timedelta(days=days)
        for path in self.data.glob("warehouse/**/*.metadata.json"):
            content, packed = path.read_bytes(), path.name.endswith(".gz.metadata.json")
            text = (gzip.decompress(content) if packed else content).decode()
            moved = MOMENT.sub(lambda found: _moved(found, earlier), text).encode()
            path.write_bytes(gzip.compress(moved) if packed else moved)
        then = time.time() - earlier.total_seconds()
        for path in self.data.glob("warehouse/**/*"):
            os.utime(path, (then, then))

    def run(self, run_id: str = "today", dt: date | None = None, experiment_id: str = "", **options: Any) -> Run:
        """A run of an experiment, as Airflow starts it."""
        return Run(self.project, experiment_id or self.one, dt or self.dt, run_id, Options(**options))

    def stage(self, run: Run, stage: Stage, say: Callable[[str], None] = quiet) -> None:
        """One stage in this process."""
        session = Session.given(self.spark) if self.spark is not None else None
        run_stage(run, stage, session=session, say=say)

    def stages(self, run: Run, stages: Sequence[Stage] | None = None) -> None:
        """Stages in order; the last one of a run releases its claim, as the DAG does."""
        for stage in stages or self.plan:
            self.stage(run, stage)
            if stage is self.plan[-1]:
                release(run.project, run.experiment_id, run.run_id)

    def rest(self, run: Run, first: Stage) -> None:
        """A stage and all that follow it."""
        self.stages(run, self.plan[self.plan.index(first) :])

    def up_to(self, last: Stage) -> tuple[Stage, ...]:
        """The stages of a run as far as a stage, which is one of them."""
        return self.plan[: self.plan.index(last) + 1]

    def raw(self, experiment_id: str, dataset: str, day: int, name: str = "events.parquet") -> Path:
        """A file of the raw zone; `day` counts from the start."""
        folder = Path(self.project.raw_folder(experiment_id)) / dataset / f"dt={(START + day * DAY).date()}"
        return folder / name

    def land(
        self, experiment_id: str, dataset: str, day: int, rows: Sequence[Row], name: str = "events.parquet"
    ) -> Path:
        """Write rows as a file of the raw zone."""
        types = {"experiment_id": pa.string(), "user_id": pa.string()} | COLUMNS[dataset]
        columns = zip(*((experiment_id, *row) for row in rows), strict=True) if rows else ([] for _ in types)
        arrays = {name: pa.array(values, kind) for (name, kind), values in zip(types.items(), columns, strict=True)}
        path = self.raw(experiment_id, dataset, day, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays), path)
        return path

    def configure(self, experiment_id: str, **changes: Any) -> None:
        """Change keys of an experiment's file, and read the configuration again."""
        path = self.project.root / "configs" / "experiments" / f"{experiment_id}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))
        self.project = load_project(self.project.path)


def _moved(found: re.Match[str], earlier: timedelta) -> str:
    return f"{found[1]}{int(found[2]) - earlier // timedelta(milliseconds=1)}"


def experiment(experiment_id: str) -> dict[str, Any]:
    """The file of an experiment of eight days with two arms, three metrics and a guardrail."""
    return {
        "experiment_id": experiment_id,
        "name": experiment_id,
        "owner": "torture",
        "hypothesis": "Nothing is lost and nothing is mixed.",
        "start_ts": "2026-01-05T00:00:00Z",
        "end_ts": "2026-01-13T00:00:00Z",
        "planned_users": 4 * USERS,
        "variants": [{"id": "control", "allocation": 0.5, "is_control": True}, {"id": "treatment", "allocation": 0.5}],
        "analysis_mode": "exposed",
        "pre_period_days": 3,
        "primary_metric": "conversion",
        "metrics": ["conversion", "revenue", "revenue_per_session"],
        "guardrails": [{"metric": "revenue", "max_relative_harm": 0.05}],
    }


def new_world(folder: Path, shared: SparkSession) -> World:
    """A clone with the two experiments and nothing in its lake."""
    make_project(folder, contracts={"max_bad_fraction": 0.2})
    files = folder / "configs" / "experiments"
    for path in files.iterdir():
        path.unlink()
    for experiment_id in (ONE, TWO):
        (files / f"{experiment_id}.yaml").write_text(yaml.safe_dump(experiment(experiment_id), sort_keys=False))
    return World(load_project(folder / "configs" / "dev.yaml"), shared=shared)


def events_of_day(day: int, users: int = USERS) -> Iterator[tuple[str, Row]]:
    """Dataset and event of users who are assigned on a day: some convert, some come before, some are logged twice."""
    for number in range(users):
        user, arm = f"u{day}_{number}", ARMS[number % 2]
        at = START + day * DAY + timedelta(minutes=7 * number)
        yield "assignments", (user, arm, at, "user")
        if number % 5:
            yield "exposures", (user, arm, at + timedelta(minutes=3), "user")
        for before in range(number % 3):
            yield "outcomes", (user, "sessions", 1.0, at - (before + 1) * DAY)
        for visit in range(1 + number % 2):
            yield "outcomes", (user, "sessions", 1.0, at + timedelta(minutes=5 + visit))
        if number % 4 == day % 4:
            yield "outcomes", (user, "conversion", 1.0, at + timedelta(hours=1))
            yield "outcomes", (user, "revenue", 10.1 + 0.7 * number, at + timedelta(hours=1))


def land_day(world: World, experiment_id: str, day: int, users: int = USERS) -> None:
    """Land one file of each dataset with the events of users who are assigned on a day; a tenth of them twice."""
    rows: dict[str, list[Row]] = {dataset: [] for dataset in COLUMNS}
    for number, (dataset, row) in enumerate(events_of_day(day, users)):
        rows[dataset] += [row, row] if number % 10 == 0 else [row]
    for dataset, events in rows.items():
        world.land(experiment_id, dataset, day, events)


def kept_world(folder: Path, shared: SparkSession, plan: tuple[Stage, ...]) -> World | None:
    """The world that an earlier sitting has filled and saved at all of its moments; None where there is none."""
    if not (folder / "saved" / "done").is_dir():
        return None
    return World(load_project(folder / "configs" / "dev.yaml"), plan=plan, shared=shared)


def filled_world(folder: Path, shared: SparkSession, plan: tuple[Stage, ...] = stages_for(False)) -> World:
    """A world whose experiments are published as of the day before DT, and whose events of DT have landed."""
    world = new_world(folder, shared)
    world.plan = plan
    days = (DT - START.date()).days
    for experiment_id in (ONE, TWO):
        for day in range(days):
            land_day(world, experiment_id, day)
        world.stages(world.run("yesterday", DT - DAY, experiment_id))
    land_day(world, ONE, days)
    return world
