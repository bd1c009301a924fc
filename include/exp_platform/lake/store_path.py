"""Pages in an object store, by the few methods of `pathlib.Path` that the writers and readers of pages use.

A file in a store appears whole or not at all, whoever else writes it, so that no file is moved into place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.errors import ExpError
from exp_platform.lake.raw_zone import filesystem, require_bucket

_TYPES = {".html": "text/html", ".json": "application/json", ".md": "text/markdown"}


@dataclass(frozen=True)
class Stat:
    """Size and time of a file; a store has no number of a file, and its times are whole seconds."""

    st_size: int
    st_mtime_ns: int
    st_ino: int = 0


@dataclass(frozen=True)
class StorePath:
    """One path below a folder of the store; `url` is the folder's address, `inner` the path below it."""

    project: Project = field(repr=False, compare=False)
    url: str
    inner: str = ""
    known: fs.FileInfo | None = field(default=None, repr=False, compare=False)  # as a listing has seen it

    def __truediv__(self, name: str) -> StorePath:
        return replace(self, inner=posixpath.join(self.inner, name), known=None)

    def __str__(self) -> str:
        return posixpath.join(self.url, self.inner) if self.inner else self.url

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(str(self))

    @property
    def stem(self) -> str:
        """The last part of the path without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The suffix of the last part, such as `.html`."""
        return posixpath.splitext(self.name)[1]

    @property
    def media_type(self) -> str:
        """The kind of the file, as a browser needs to know it."""
        return f"{_TYPES.get(self.suffix, 'text/plain')}; charset=utf-8"

    def with_suffix(self, suffix: str) -> StorePath:
        """The path with another suffix."""
        return replace(self, inner=posixpath.splitext(self.inner)[0] + suffix, known=None)

    def is_file(self) -> bool:
        """True when there is such a file."""
        with self._store("read") as (files, path):
            return bool(files.get_file_info(path).type == fs.FileType.File)

    def stat(self) -> Stat:
        """Size and time of the file."""
        info = self.known
        if info is None:
            with self._store("read") as (files, path):
                info = files.get_file_info(path)
        if info.type != fs.FileType.File:
            raise FileNotFoundError(str(self))
        return Stat(info.size, info.mtime_ns)

    def glob(self, pattern: str) -> list[StorePath]:
        """The files of one folder with a suffix, as `*.json` or `validations/*.json` names them; sorted."""
        folder, _, suffix = pattern.rpartition("*")
        below = self / folder.rstrip("/") if folder else self
        with below._store("read") as (files, path):
            found = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        there = [info for info in found if info.type == fs.FileType.File and info.base_name.endswith(suffix)]
        return sorted((replace(below / info.base_name, known=info) for info in there), key=str)

    def read_bytes(self) -> bytes:
        """The content of the file; FileNotFoundError without it."""
        with self._store("read") as (files, path), files.open_input_stream(path) as stream:
            return bytes(stream.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The text of the file; FileNotFoundError without it."""
        return self.read_bytes().decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write the file, which is there as a whole at the end or stays as it was."""
        kind = {"Content-Type": self.media_type}
        with self._store("written") as (files, path), files.open_output_stream(path, metadata=kind) as stream:
            stream.write(text.encode(encoding))

    @contextmanager
    def _store(self, what: str) -> Iterator[tuple[fs.FileSystem, str]]:
        """The file system and the path in it; a store that does not answer is one sentence, and may be tried again."""
        try:
            yield filesystem(self.project, str(self))
        except FileNotFoundError:
            raise
        except OSError as error:
            require_bucket_if_it_answers(self.project, self.url)
            said = str(error).strip().splitlines()
            raise ExpError(
                f"{self} cannot be {what}: the object store does not answer as it should "
                f"({said[0] if said else type(error).__name__}); it is tried again"
            ) from None


Folder: TypeAlias = Path | StorePath


def require_bucket_if_it_answers(project: Project, url: str) -> None:
    """Refuse a bucket that is not there; a store that cannot be asked says nothing about its buckets."""
    try:
        require_bucket(project, url)
    except OSError:
        return


def page_folder(project: Project, location: str) -> Folder:
    """The folder of a profile's key, `memo_dir` or `docs_dir`: local, or in the object store."""
    folder = project.resolve(location)
    return StorePath(project, folder.rstrip("/")) if "://" in folder else Path(folder)
