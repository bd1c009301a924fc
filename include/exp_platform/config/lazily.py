"""Files of one kind that are read when their name is first asked for, as a mapping of names to contents.

A stage is about one experiment, and a registry may hold thousands. Only a file that is plainly right is read by itself.
In doubt (it is refused, two files have the name, there is none) and where all names are wanted, all files are read:
a refusal names what else there is, and is the same whoever asks.

A cache of parsed files would have to open and hash each of them all the same, be thrown away with each version of the
code, and have a place that all machines may write to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Files(Protocol[T_co]):
    """The files of one kind."""

    def one(self, name: str, /) -> T_co | None:
        """Read the file of a name when it is plainly right; None in doubt."""

    def everything(self) -> tuple[Mapping[str, T_co], Mapping[str, str]]:
        """Read all: the contents by name, and by file why it is refused."""


class Read(Generic[T]):
    """The files of one kind that have been read; what was read once stays as it was then."""

    def __init__(self, files: Files[T]) -> None:
        self._files = files
        self._known: dict[str, T] = {}

    @cached_property
    def everything(self) -> tuple[dict[str, T], dict[str, str]]:
        """All of the files, by name, and why some are refused."""
        found, refused = self._files.everything()
        return {**found, **self._known}, {name: why for name, why in refused.items() if name not in self._known}

    def plain(self, name: str) -> T | None:
        """The content of a name's file, when nothing else has to be read to know it; else None."""
        if name not in self._known and "everything" not in self.__dict__:
            found = self._files.one(name)
            if found is not None:
                self._known[name] = found
        return self._known.get(name)

    def find(self, name: str) -> T | None:
        """The content of a name's file; None where it is refused, or not there."""
        found = self.plain(name)
        return self.everything[0].get(name) if found is None else found


class Lazily(Mapping[str, T]):
    """The files that are right, by name; with others in their place where a caller has changed some."""

    def __init__(self, read: Read[T], changed: Mapping[str, T] | None = None) -> None:
        self._read = read
        self._changed = dict(changed or {})

    def __getitem__(self, name: str) -> T:
        found = self._changed.get(name)
        if found is None:
            found = self._read.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._read.everything[0] | self._changed)

    def __len__(self) -> int:
        return len(self._read.everything[0] | self._changed)

    def __or__(self, others: Mapping[str, T]) -> Lazily[T]:
        return Lazily(self._read, {**self._changed, **others})


class Refused(Mapping[str, str]):
    """Why each file is refused that is, by the file's name."""

    def __init__(self, read: Read[T]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> str:
        if self._read.plain(name) is not None:
            raise KeyError(name)
        return self._read.everything[1][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read.everything[1])

    def __len__(self) -> int:
        return len(self._read.everything[1])


Entries: TypeAlias = dict[str, T] | Lazily[T]
