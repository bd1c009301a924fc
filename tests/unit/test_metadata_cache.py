"""The tests' memory of metadata files reads a file once, and anew when it was written anew or is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog

TABLE = "exp.assignments"


def test_a_metadata_file_is_parsed_once_and_anew_when_it_has_changed(project: Project) -> None:
    empty_lake(project)
    first, second = (load_catalog(project).load_table(TABLE) for _ in range(2))
    assert first.metadata is second.metadata
    path = Path(first.metadata_location.removeprefix("file://"))
    path.write_text(path.read_text().replace('"last-updated-ms":', '"last-updated-ms": 1'))
    assert load_catalog(project).load_table(TABLE).metadata.last_updated_ms != first.metadata.last_updated_ms
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load_catalog(project).load_table(TABLE)


def test_what_a_handle_writes_is_not_seen_through_another_handle_before_it_is_loaded_anew(project: Project) -> None:
    empty_lake(project)
    writer, reader = (load_catalog(project).load_table(TABLE) for _ in range(2))
    before = reader.metadata.model_dump_json()
    writer.append(writer.scan().to_arrow())
    with writer.transaction() as change:
        change.set_properties({"a": "b"})
    writer.manage_snapshots().create_tag(writer.current_snapshot().snapshot_id, "kept").commit()
    assert reader.metadata.model_dump_json() == before
    assert load_catalog(project).load_table(TABLE).metadata.model_dump_json() != before
