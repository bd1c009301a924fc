"""A transaction computes its metadata once for each state, copies no history, and says what PyIceberg would say."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import StringType
from tests.conftest import make_project
from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake import transactions
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import overwrite_rows, read_rows
from exp_platform.lake.tables.names import DECISION, RUN_CLAIM

CLAIM = {
    "experiment_id": "one",
    "run_id": "r",
    "dt": date(2026, 1, 1),
    "claimed_at": datetime(2026, 1, 1, tzinfo=UTC),
    "started_by": "test",
    "released_at": None,
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    empty_lake(project)
    return project


def content(metadata: TableMetadata) -> dict[str, Any]:
    return metadata.model_dump(exclude={"last_updated_ms"})


def test_the_metadata_are_those_of_pyiceberg_after_each_update(project: Project) -> None:
    handle = load_handle(project, DECISION)
    before = content(handle.metadata)
    change = handle.transaction()
    seen = [change.table_metadata]
    for value in ("a", "b"):
        change.set_properties({"word": value})
        seen.append(change.table_metadata)
        assert content(seen[-1]) == content(update_table_metadata(handle.metadata, change._updates))
    assert [metadata.properties.get("word") for metadata in seen] == [None, "a", "b"]
    assert content(handle.metadata) == before, "what is not committed is not in the table"


def test_a_transaction_looks_again_when_its_table_was_loaded_again(project: Project) -> None:
    handle = load_handle(project, DECISION)
    change = handle.transaction()
    assert "word" not in change.table_metadata.properties
    with load_handle(project, DECISION).transaction() as other:
        other.set_properties({"word": "of another"})
    handle.refresh()
    assert change.table_metadata.properties["word"] == "of another"


def test_a_commit_copies_the_metadata_a_few_times_only(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[TableMetadata] = []

    def counted(*words: Any, **named: Any) -> TableMetadata:
        copies.append(update_table_metadata(*words, **named))
        return copies[-1]

    monkeypatch.setattr(transactions, "update_table_metadata", counted)
    handle = load_handle(project, RUN_CLAIM)
    for attempt in (1, 2):
        copies.clear()
        overwrite_rows(handle, RUN_CLAIM, {"experiment_id": "one"}, [CLAIM | {"attempt": attempt}])
        assert 1 <= len(copies) <= 2
    assert [row["attempt"] for row in read_rows(handle, {"experiment_id": "one"})] == [2]


def test_a_commit_shares_the_history_with_the_metadata_before_it_and_changes_nothing_there(project: Project) -> None:
    handle = load_handle(project, RUN_CLAIM)
    seen: list[tuple[TableMetadata, dict[str, Any]]] = []

    def remembered() -> TableMetadata:
        seen.append((handle.metadata, handle.metadata.model_dump()))
        return handle.metadata

    for attempt in (1, 2, 3):
        overwrite_rows(handle, RUN_CLAIM, {"experiment_id": "one"}, [CLAIM | {"attempt": attempt}])
        remembered()
    two, three = seen[-2][0], seen[-1][0]
    with handle.transaction() as change:
        change.set_properties({"word": "a"})
        assert change.table_metadata.snapshots[0] is three.snapshots[0]
        assert change.table_metadata.schema() is three.schema()
    handle.manage_snapshots().create_branch(two.current_snapshot_id, "side").commit()
    remembered()
    handle.manage_snapshots().remove_branch("side").commit()
    with handle.update_schema() as change:
        change.add_column("further", StringType())
    remembered()
    handle.maintenance.expire_snapshots().by_ids([two.snapshots[0].snapshot_id]).commit()
    assert len(remembered().snapshots) == len(three.snapshots) - 1
    for metadata, content_then in seen:
        assert metadata.model_dump() == content_then
    assert load_handle(project, RUN_CLAIM).metadata.model_dump() == seen[-1][1]
