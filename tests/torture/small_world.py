"""A world of hand-made sums in which the stages of arithmetic run; it needs no Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from tests.published_lake import published_lake
from tests.torture.invariants import ANSWERS
from tests.torture.world import World

from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.pipelines.registry import BY_NAME

_NAMES = ("sync_registry", "analyze_results", "validate_statistics", "check_guardrails")
ARITHMETIC = tuple(BY_NAME[name] for name in _NAMES)


def small_world(folder: Path) -> World:
    """A published experiment, and the answers of another one beside it in the same tables."""
    project, plan = published_lake(folder)
    world = World(project, dt=plan.dt, one="exp_test", two="exp_other", plan=ARITHMETIC)
    for name in ANSWERS:
        if TABLES[name].engine == "pyiceberg":
            _copy_rows(world, name)
    return world


def _copy_rows(world: World, name: str) -> None:
    handle = load_handle(world.project, name)
    rows = handle.scan(row_filter=f"experiment_id = '{world.one}'").to_arrow()
    if rows.num_rows:
        place = rows.column_names.index("experiment_id")
        others = pa.array([world.two] * rows.num_rows, rows.schema.field(place).type)
        handle.append(rows.set_column(place, rows.schema.field(place), others))
