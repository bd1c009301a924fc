"""The tests' short way to an empty lake leaves what `ensure_tables` leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.table import Table as IcebergTable
from tests.conftest import make_project
from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables
from exp_platform.lake.tables import TABLES

OF_THE_PLACE = {"location", "table_uuid", "last_updated_ms", "metadata_log", "snapshots", "snapshot_log", "refs"}


def said(handle: IcebergTable) -> dict[str, object]:
    """The metadata of a table but for what differs from one lake to the next."""
    metadata = handle.metadata.model_dump(exclude=OF_THE_PLACE | {"current_snapshot_id"})
    snapshot = handle.current_snapshot()
    assert snapshot is not None
    return metadata | {"summary": snapshot.summary, "columns": repr(handle.schema()), "spec": repr(handle.spec())}


def test_a_copied_lake_has_the_tables_of_one_that_was_created(project: Project, tmp_path: Path) -> None:
    created = ensure_tables(make_project(tmp_path / "other"))
    empty_lake(project)
    copied = ensure_tables(project)
    assert copied.keys() == created.keys() == TABLES.keys()
    for name, handle in copied.items():
        assert said(handle) == said(created[name]), name
        assert f"{tmp_path}/data" in handle.metadata_location
        assert handle.scan().to_arrow().num_rows == 0
    files = [path.read_bytes() for path in (tmp_path / "data" / "warehouse").rglob("*") if path.is_file()]
    assert files and not any(b"exp_empty_lake_" in content for content in files)


def test_a_lake_that_is_there_is_not_overwritten(project: Project) -> None:
    empty_lake(project)
    with pytest.raises(AssertionError, match="has a lake already"):
        empty_lake(project)


def test_tables_of_two_copies_have_different_identities(tmp_path: Path) -> None:
    projects = [make_project(tmp_path / name) for name in ("one", "two")]
    for project in projects:
        empty_lake(project)
    one, two = (ensure_tables(project) for project in projects)
    assert {handle.metadata.table_uuid for handle in one.values()}.isdisjoint(
        handle.metadata.table_uuid for handle in two.values()
    )
