"""Parsed metadata files of Iceberg tables: a file never changes, and each stage of each test reads those of all tables.

A file that is gone, or that was written anew, is not taken from here.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from pyiceberg.io import InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata

KEPT = 400  # files: some more than there are tables
Key = tuple[str, int, int, int]

_original = FromInputFile.table_metadata
_parsed: OrderedDict[Key, TableMetadata] = OrderedDict()


def table_metadata(input_file: InputFile, *rest: str) -> TableMetadata:
    """Read a metadata file as PyIceberg does, once; a file that is not on this machine is always read."""
    path = input_file.location.removeprefix("file://")
    try:
        state = Path(path).stat()
    except OSError:
        return _original(input_file, *rest)
    key = (path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in _parsed:
        _parsed[key] = _original(input_file, *rest)
        while len(_parsed) > KEPT:
            _parsed.popitem(last=False)
    _parsed.move_to_end(key)
    return _parsed[key]


def install() -> None:
    """Let PyIceberg read metadata files through the cache."""
    FromInputFile.table_metadata = staticmethod(table_metadata)  # type: ignore[method-assign]
