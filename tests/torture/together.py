"""Scenarios of several processes at once: runs of four experiments, a reader during ten runs, a schema that grows."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import yaml
from pyiceberg.types import StringType
from tests.published_lake import append_by_user
from tests.torture.bench import Bench, Scenario
from tests.torture.invariants import UNLIKE
from tests.torture.points import Ended, at_point, ended, forked
from tests.torture.world import World

from exp_platform.config.load import load_project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION, GUARDRAIL_STATUS
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

RUNS = 10
LOOKED_AT = (ANALYSIS_RESULTS, GUARDRAIL_STATUS, DECISION)


def several_experiments(last: Stage, inputs: Iterable[str], count: int = 4) -> Scenario:
    """As many experiments with equal numbers are run at once; `inputs` are the tables that their stages read."""
    return Scenario(
        "at once",
        f"{count} experiments are run at once",
        f"{count} processes run all stages of arithmetic, each for an experiment of its own with equal sums",
        f"{count} of {count} end well, with one answer",
        "done",
        partial(_several, tuple(inputs), count),
        last=last,
    )


def reader(last: Stage) -> Scenario:
    """Somebody reads while runs publish one after the other."""
    return Scenario(
        "at once",
        f"somebody reads during {RUNS} runs",
        f"{RUNS} runs of the day publish in a row; meanwhile results, guardrails and decision are read again and again",
        f"exit 0; rows of more than one run were read; {len(LOOKED_AT)} tables were never seen half",
        "done",
        _read_meanwhile,
        last=last,
    )


def schema_changes(stages: Iterable[Stage]) -> Iterator[Scenario]:
    """A newer version of the platform adds a column to the table that a stage is about to publish."""
    for stage in stages:
        yield Scenario(
            "at once",
            f"{stage.name}: its table gets a column before it commits",
            "the files are written and audited; another process adds a column to the table; the stage goes on",
            "exit 0",
            f"before {stage.name}",
            partial(_grow, stage),
            last=stage,
        )


def _several(inputs: tuple[str, ...], count: int, bench: Bench) -> tuple[str, Run]:
    world = bench.world
    names = [f"exp_beside_{number}" for number in range(count)]
    with beside(world, names):
        for name in names:
            for table in inputs:
                copy_rows(world, table, name)
        children = [forked(partial(world.stages, world.run(f"run_{name}", experiment_id=name))) for name in names]
        well = [ended(child) for child in children].count(Ended())
        answers = {answer(world, name) for name in names}
    said = f"{'one answer' if len(answers) == 1 else f'{len(answers)} answers'}"
    return f"{well} of {count} end well, with {said}", world.run()


@contextmanager
def beside(world: World, names: Iterable[str]) -> Iterator[None]:
    """Files of further experiments that are like the first but for their ids, for the length of a `with` block."""
    before = world.project
    folder = world.project.root / "configs" / "experiments"
    content = yaml.safe_load((folder / f"{world.one}.yaml").read_text())
    for name in names:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | {"experiment_id": name}, sort_keys=False))
    world.project = load_project(world.project.path)
    try:
        yield
    finally:
        for name in names:
            (folder / f"{name}.yaml").unlink()
        world.project = before


def copy_rows(world: World, name: str, whose: str) -> None:
    """Append the first experiment's rows of a table as those of another."""
    rows = load_handle(world.project, name).scan(row_filter=f"experiment_id = '{world.one}'").to_arrow()
    if rows.num_rows:
        place = rows.column_names.index("experiment_id")
        others = pa.array([whose] * rows.num_rows, rows.schema.field(place).type)
        append_by_user(world.project, name, rows.set_column(place, rows.schema.field(place), others))


def answer(world: World, name: str) -> str:
    """The answer columns of an experiment's results and decision, without its id and the hash that it is part of."""
    said = []
    for table in LOOKED_AT:
        rows = load_handle(world.project, table).scan(row_filter=f"experiment_id = '{name}'").to_arrow().to_pylist()
        kept = [c for c in TABLES[table].columns if c not in UNLIKE | {"experiment_id", "config_hash"}]
        said += sorted(repr([row[column] for column in kept]).replace(name, "") for row in rows)
    return "\n".join(said)


def _read_meanwhile(bench: Bench) -> tuple[str, Run]:
    world = bench.world
    runs = [world.run(f"again_{number}", full_refresh=True) for number in range(RUNS)]
    whole = {table: sum(_rows_by_run(world, table).values()) for table in LOOKED_AT}
    child = forked(lambda: [world.stages(run) for run in runs])
    seen: set[str] = set()
    half: set[str] = set()
    while (state := os.waitpid(child, os.WNOHANG))[0] == 0:
        for table in LOOKED_AT:
            found = _rows_by_run(world, table)
            seen |= found.keys()
            half |= {table} if len(found) != 1 or sum(found.values()) != whole[table] else set()
        time.sleep(1.0)
    end = Ended(code=os.waitstatus_to_exitcode(state[1]))
    many = "rows of more than one run were read" if len(seen) > 2 else f"only rows of {sorted(seen)} were read"
    never = f"{len(LOOKED_AT) - len(half)} tables were never seen half"
    return f"{end}; {many}; {never}", runs[-1]


def _rows_by_run(world: World, table: str) -> Counter[str]:
    """Run id -> its rows of the day's answer, as they are published now."""
    where = f"experiment_id = '{world.one}' AND dt = '{world.dt}'"
    rows = load_handle(world.project, table).scan(row_filter=where, selected_fields=("run_id",)).to_arrow()
    return Counter(rows["run_id"].to_pylist())


def _grow(stage: Stage, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()

    def grow() -> None:
        with load_handle(world.project, stage.publishes[0]).update_schema() as update:
            update.add_column("from_a_newer_version", StringType(), required=False)

    def action() -> None:
        with at_point("after the data files", grow):
            world.stage(run, stage)

    end = ended(forked(action))
    if str(end) != "exit 0":
        world.stages(run, [stage])
    return str(end), run
