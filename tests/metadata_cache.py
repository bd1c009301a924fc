"""Metadata files and manifests that PyIceberg reads again and again, kept while the tests run.

A table's metadata files and manifests never change, and each stage of each test reads those of many tables; a file
that is gone, or that was written anew, is not taken from here. Each manifest begins with its schema, which is one of a
few. To read manifests was a third of what stages on small data compute in Python.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from pyiceberg.avro import file as avro_file
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.io import FileIO, InputFile
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

METADATA_FILES = 400  # some more than there are tables
MANIFESTS = 2000
Key = tuple[object, ...]
T = TypeVar("T")


class Kept(Generic[T]):
    """The last values that were asked for, by key."""

    def __init__(self, many: int) -> None:
        self._many = many
        self._values: OrderedDict[Key, T] = OrderedDict()
        self._one_at_a_time = Lock()

    def get(self, key: Key, made: Callable[[], T]) -> T:
        """The value of a key, made if it is not kept; two threads may make the same one."""
        with self._one_at_a_time:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = made()
        with self._one_at_a_time:
            self._values[key] = value
            while len(self._values) > self._many:
                self._values.popitem(last=False)
        return value


_read_metadata, _read_entries = FromInputFile.table_metadata, ManifestFile.fetch_manifest_entry
_metadata: Kept[TableMetadata] = Kept(METADATA_FILES)
_entries: Kept[list[ManifestEntry]] = Kept(MANIFESTS)


def state_of(location: str) -> Key | None:
    """A key that a file of this machine has alone, and loses if it is written anew; None for a file elsewhere."""
    path = location.removeprefix("file://")
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return (path, state.st_ino, state.st_mtime_ns, state.st_size)


def table_metadata(input_file: InputFile, *rest: str) -> TableMetadata:
    """Read a metadata file as PyIceberg does, once; a file that is not on this machine is always read."""
    key = state_of(input_file.location)
    if key is None:
        return _read_metadata(input_file, *rest)
    return _metadata.get(key, lambda: _read_metadata(input_file, *rest))


def manifest_entries(manifest: ManifestFile, io: FileIO, discard_deleted: bool = True) -> list[ManifestEntry]:
    """Read a manifest's entries, once; they take some values from the manifest, and nobody changes them."""
    key = state_of(manifest.manifest_path)
    if key is None:
        return _read_entries(manifest, io, discard_deleted)
    given = (manifest.sequence_number, manifest.added_snapshot_id, manifest.partition_spec_id)
    entries = _entries.get(key + given, lambda: _read_entries(manifest, io, discard_deleted=False))
    return [one for one in entries if not discard_deleted or one.status != ManifestEntryStatus.DELETED]


@lru_cache(maxsize=400)
def _schema_of(text: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(text))


def header_schema(header: avro_file.AvroFileHeader) -> Schema:
    """Build the schema that a manifest begins with, once for equal text; it is never changed."""
    return _schema_of(header.meta["avro.schema"])


_readers: dict[tuple[object, ...], tuple[Schema, Schema, Reader]] = {}


def reader(
    written: Schema,
    read: Schema,
    read_types: Mapping[int, Callable[..., Any]],
    read_enums: Mapping[int, Callable[..., Any]],
) -> Reader:
    """Find the reader of a schema that is kept here; a reader has no state of its own."""
    key = (id(written), id(read), *read_types.items(), *read_enums.items())
    if key not in _readers:  # the schemas are kept too, so that no other gets their identity
        _readers[key] = (written, read, resolve_reader(written, read, dict(read_types), dict(read_enums)))
    return _readers[key][-1]


def install() -> None:
    """Let PyIceberg read metadata files and manifests through what is kept."""
    FromInputFile.table_metadata = staticmethod(table_metadata)  # type: ignore[method-assign]
    ManifestFile.fetch_manifest_entry = manifest_entries  # type: ignore[method-assign]
    avro_file.AvroFileHeader.get_schema = header_schema  # type: ignore[method-assign]
    avro_file.resolve_reader = reader  # type: ignore[assignment]
