"""A small gzip file that unpacks to an endless line is refused; lines that pack well are not."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from pyarrow import fs

from exp_platform.ingest.packed import LONGEST_LINE, has_endless_line, refuse_endless_line


def written(path: Path, *members: bytes) -> tuple[fs.FileSystem, str, int]:
    path.write_bytes(b"".join(gzip.compress(member, 1, mtime=0) for member in members))
    return fs.LocalFileSystem(), str(path), path.stat().st_size


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = written(tmp_path / "a.csv.gz", b"u,v\n" + b"0" * (LONGEST_LINE + 1))
    assert bomb[2] < LONGEST_LINE / 100
    with pytest.raises(ValueError, match="unpacked, it has a line of more than 16 MB"):
        refuse_endless_line(*bomb)


def test_as_many_bytes_in_short_lines_are_read(tmp_path: Path) -> None:
    refuse_endless_line(*written(tmp_path / "a.csv.gz", b"0,1\n" * (LONGEST_LINE // 3)))
    refuse_endless_line(*written(tmp_path / "b.csv.gz", b""))
    refuse_endless_line(*written(tmp_path / "a.csv", b"0" * (LONGEST_LINE + 1)))  # is not packed by its name


@pytest.mark.parametrize(("length", "endless"), [(LONGEST_LINE, False), (LONGEST_LINE + 1, True)])
def test_a_line_goes_on_in_the_next_part_of_a_file(length: int, endless: bool) -> None:
    parts = (b"a\n" + b"0" * (length - 5), b"0" * 5 + b"\nb")
    assert has_endless_line(io.BytesIO(b"".join(gzip.compress(part, 1) for part in parts))) is endless
