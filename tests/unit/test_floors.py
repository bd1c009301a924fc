"""The house has floors: a module imports from its own floor or a lower one, imports inside functions included."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from exp_platform.paths import clone_root

FLOORS = (
    ("errors", "paths", "status", "version", "schemas", "config"),
    ("lake", "ledger", "spark", "stats", "causal"),
    ("metrics", "sums", "transforms", "ingest", "quality", "synth"),
    ("results", "decision", "memo", "alerts"),
    ("pipelines",),
    ("operations", "second_opinion", "detection", "calibration"),
    ("cli", "airflow", "generate_synth"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = clone_root() / "include" / "exp_platform"


def room_of(module: str) -> str:
    """The room of a dotted name: `exp_platform.lake.row_audit` stands in `lake`."""
    return module.split(".")[1]


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names of this package that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("exp_platform"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("exp_platform."))


@functools.cache
def edges() -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports from the second."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).with_suffix("").parts[0]
        if room != "__init__":
            found |= {(room, room_of(name)) for name in imports_of(file)}
    return {(a, b) for a, b in found if a != b}


def test_every_room_of_the_package_stands_on_a_floor() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == FLOOR.keys()


def test_a_module_imports_from_its_own_floor_or_a_lower_one() -> None:
    upward = sorted(f"{a} imports {b}" for a, b in edges() if FLOOR[b] > FLOOR[a])
    assert upward == []


def test_no_rooms_of_one_floor_import_each_other_in_a_circle() -> None:
    below: dict[str, set[str]] = {room: {b for a, b in edges() if a == room} for room in FLOOR}
    left = dict(below)
    while free := [room for room, needs in left.items() if not needs & left.keys()]:
        for room in free:
            del left[room]
    assert left == {}, f"these rooms import each other in a circle: {sorted(left)}"


def test_spark_jobs_and_dags_start_what_stands_below_and_nobody_imports_them() -> None:
    for file in PACKAGE.rglob("*.py"):
        nodes = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom))
        roots = {(node.module or "").split(".")[0] for node in nodes}
        assert roots.isdisjoint({"dags", "spark_jobs", "tests", "benchmarks"}), file


def test_the_statistics_know_numpy_and_nothing_of_the_platform() -> None:
    known = {"stats", "causal", "status"}
    for room in ("stats", "causal"):
        for file in (PACKAGE / room).rglob("*.py"):
            assert {room_of(name) for name in imports_of(file)} <= known, file
