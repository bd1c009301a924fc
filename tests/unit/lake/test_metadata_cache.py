"""The cache of the tests gives what PyIceberg would read from a table's files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from tests import metadata_cache


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table of two commits and a delete that rewrites a file, so that an entry is deleted."""
    catalog = SqlCatalog("kept", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("a")
    made = catalog.create_table("a.b", pa.schema([("n", pa.int64())]))
    for numbers in ([1, 2], [3]):
        made.append(pa.table({"n": numbers}))
    made.delete("n = 1")
    return made


def test_kept_entries_are_those_that_pyiceberg_reads(table: Table) -> None:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    many = []
    for discard in (True, False, True):
        for manifest in snapshot.manifests(table.io):
            kept = metadata_cache.manifest_entries(manifest, table.io, discard)
            assert kept == metadata_cache._read_entries(manifest, table.io, discard)
        many.append(sum(len(m.fetch_manifest_entry(table.io, discard)) for m in snapshot.manifests(table.io)))
    assert many[0] == many[2] < many[1], "entries that are deleted come when they are asked for"


def test_a_file_that_is_gone_or_written_anew_is_another(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    before = metadata_cache.state_of(str(file))
    assert metadata_cache.state_of(f"file://{file}") == before
    file.write_text("other")
    assert metadata_cache.state_of(str(file)) != before
    file.unlink()
    assert metadata_cache.state_of(str(file)) is None
