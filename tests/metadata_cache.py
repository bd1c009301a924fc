"""What PyIceberg works out again and again from equal text, kept while the tests run.

A table's metadata file never changes, and each stage of each test reads those of all tables; a file that is gone, or
that was written anew, is not taken from here. Manifests begin with their schema, which is one of a few: to build it
and its readers took a sixth of what the tests compute in Python.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyiceberg.avro import file as avro_file
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.io import InputFile
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

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
    avro_file.AvroFileHeader.get_schema = header_schema  # type: ignore[method-assign]
    avro_file.resolve_reader = reader  # type: ignore[assignment]
