"""Packed files of lines: one that unpacks to an endless line would fill the memory of whoever reads it."""

from __future__ import annotations

import zlib
from typing import Protocol

from pyarrow import fs

LONGEST_LINE = 16 * 2**20  # bytes
PACKED_MUCH = 100  # text packs by ten; what packs by more is looked at before Spark unpacks it
_PIECE = 2**20


class Readable(Protocol):
    """An open file."""

    def read(self, count: int) -> bytes:
        """The next bytes."""


def refuse_endless_line(files: fs.FileSystem, path: str, size: int) -> None:
    """Raise ValueError for a gzip file that has a line of more than LONGEST_LINE bytes; most files cost one seek.

    The end of a gzip file says how much it holds, but for multiples of 4 GB.
    """
    if not path.endswith(".gz") or size < 8:
        return
    with files.open_input_file(path) as file:
        file.seek(size - 4)
        if int.from_bytes(file.read(4), "little") < PACKED_MUCH * size:
            return
        file.seek(0)
        if has_endless_line(file):
            raise ValueError(f"unpacked, it has a line of more than {LONGEST_LINE // 2**20} MB")


def has_endless_line(file: Readable) -> bool:
    """True when a line is too long; a piece of the file is in memory, and nothing is read behind such a line."""
    unpacker, length = zlib.decompressobj(wbits=31), 0
    packed = file.read(_PIECE)
    while packed:
        text = unpacker.decompress(packed, _PIECE)
        first, last = text.find(b"\n"), text.rfind(b"\n")
        if length + (len(text) if first < 0 else first) > LONGEST_LINE:
            return True
        length = length + len(text) if first < 0 else len(text) - last - 1
        packed = unpacker.unconsumed_tail
        if unpacker.eof:
            packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
        packed = packed or file.read(_PIECE)
    return False
