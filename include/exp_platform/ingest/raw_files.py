"""List the raw files of a dataset, with the size and time by which a changed file is recognised; none is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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


class LinkFound(PermissionError):
    """A symbolic link in a folder of raw files would bring rows of another place, or lead round in a circle."""


def list_files(files: fs.FileSystem, folder: str, location: str, suffixes: Sequence[str]) -> list[RawFile]:
    """Every data file at or below a location, sorted by path; files and folders named `_…` or `.…` are left out.

    `folder` is the location's path in the file system `files`.
    """
    there = files.get_file_info(folder)
    if there.type == fs.FileType.File:
        return [_raw_file(there, location)]
    if isinstance(files, fs.LocalFileSystem):
        _refuse_links(folder)
    found = files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    base = folder.rstrip("/") + "/"
    raw = []
    for info in found:
        relative = info.path.removeprefix(base)
        hidden = any(part.startswith(("_", ".")) for part in relative.split("/"))
        if info.type == fs.FileType.File and relative.endswith(tuple(suffixes)) and not hidden:
            raw.append(_raw_file(info, f"{location.rstrip('/')}/{relative}"))
    return sorted(raw)


def _refuse_links(folder: str) -> None:
    """Refuse links to folders, which may lead in a circle, and links to files that lie elsewhere.

    The location itself may be a link: whoever configured it chose it.
    """
    base = Path(os.path.realpath(folder))
    for above, folders, names in os.walk(base):
        for path in (Path(above, name) for name in (*folders, *names)):
            if not path.is_symlink():
                continue
            target = Path(os.path.realpath(path))
            if target.is_dir() or not target.is_relative_to(base):
                raise LinkFound(
                    f"the symbolic link {path.relative_to(base)} leads to {target}: put the files themselves into the "
                    "folder, or name theirs as a further source"
                )


def _raw_file(info: fs.FileInfo, path: str) -> RawFile:
    return RawFile(path, info.size, str(info.mtime_ns))
