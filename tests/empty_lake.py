"""An empty lake in a moment: each process creates all tables once, and copies them to the place of each lake."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables, warehouse_of

UUID = re.compile(rb'"table-uuid":"[^"]*"')


@dataclass(frozen=True)
class Template:
    """Everything that `ensure_tables` leaves behind: the statements that make the catalog, and the files of tables."""

    warehouse: str
    catalog: str
    files: dict[Path, bytes]  # by path below the warehouse


@cache
def template() -> Template:
    """Create the tables, once in a process."""
    with tempfile.TemporaryDirectory(prefix="exp_empty_lake_") as folder:
        project = make_project(Path(folder))
        ensure_tables(project)
        warehouse = warehouse_of(project)
        root = Path(warehouse.removeprefix("file://"))
        connection = sqlite3.connect(project.resolve(project.profile.catalog.uri))
        statements = "\n".join(connection.iterdump())
        connection.close()
        files = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return Template(warehouse, statements, files)


def empty_lake(project: Project) -> None:
    """Put every declared table into the project's embedded catalog and warehouse, neither of which is there yet.

    The tables are those of `ensure_tables`, which takes fifty times as long. Iceberg stores absolute paths, so that the
    copies get those of the project; each table gets an identity of its own.
    """
    made, warehouse = template(), warehouse_of(project)
    catalog, root = Path(project.resolve(project.profile.catalog.uri)), Path(warehouse.removeprefix("file://"))
    assert not catalog.exists() and not root.exists(), f"{project.root} has a lake already"
    identities: dict[Path, bytes] = {}
    for name, content in made.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.suffix == ".json":
            identity = identities.setdefault(name.parent, f'"table-uuid":"{uuid4()}"'.encode())
            content = UUID.sub(identity, content.replace(made.warehouse.encode(), warehouse.encode()))
        path.write_bytes(content)
    catalog.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(catalog)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(made.catalog.replace(made.warehouse, warehouse))
    connection.close()
