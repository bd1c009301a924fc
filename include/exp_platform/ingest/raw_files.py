"""List the raw files of a dataset, with the size and time by which a changed file is recognised; none is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyarrow import fs

Format = Literal["parquet", "csv", "json", "iceberg"]

SUFFIXES: dict[str, tuple[str, ...]] = {
    "parquet": (".parquet",),
    "csv": (".csv", ".csv.gz"),
    "json": (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz"),
}


@dataclass(frozen=True, order=True)
class RawFile:
    """One file: its full path or URL, its size in bytes, and a fingerprint that changes when it is written again."""

    path: str
    size: int
    fingerprint: str


def list_files(files: fs.FileSystem, folder: str, location: str, suffixes: Sequence[str]) -> list[RawFile]:
    """Every data file at or below a location, sorted by path; files and folders named `_…` or `.…` are left out.

    `folder` is the location's path in the file system `files`.
    """
    there = files.get_file_info(folder)
    if there.type == fs.FileType.File:
        return [_raw_file(there, location)]
    found = files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    base = folder.rstrip("/") + "/"
    raw = []
    for info in found:
        relative = info.path.removeprefix(base)
        hidden = any(part.startswith(("_", ".")) for part in relative.split("/"))
        if info.type == fs.FileType.File and relative.endswith(tuple(suffixes)) and not hidden:
            raw.append(_raw_file(info, f"{location.rstrip('/')}/{relative}"))
    return sorted(raw)


def _raw_file(info: fs.FileInfo, path: str) -> RawFile:
    return RawFile(path, info.size, str(info.mtime_ns))
