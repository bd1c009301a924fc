"""Raw files damaged at random: each is read or refused with a reason, before Spark opens it; nothing else is raised."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from exp_platform.ingest.lines import first_line_of, shape_of
from exp_platform.ingest.parquet import Footer, read_footers

FILES = int(os.environ.get("EXP_FUZZ_EXAMPLES", "200"))


def damaged(content: bytes, random: Random) -> bytes:
    """The file cut off, with bits turned over, bytes lost, or a part that stands elsewhere; most harm near its end."""
    found = bytearray(content)
    for _ in range(random.randrange(1, 4)):
        at = (
            random.randrange(len(found))
            if random.random() < 0.3
            else len(found) - 1 - random.randrange(len(found) // 2)
        )
        how = random.choice(["cut", "bits", "bits", "bits", "lost", "moved"])
        if how == "cut":
            del found[at:]
        elif how == "bits":
            found[at] ^= 1 << random.randrange(8)
        elif how == "lost":
            del found[at : at + random.randrange(1, 9)]
        else:
            found[at : at + 8] = found[: random.randrange(9)]
        if len(found) < 4:
            break
    return bytes(found)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small Parquet file with text, numbers, times and a nested column."""
    path = tmp_path_factory.mktemp("sound") / "a.parquet"
    columns = {
        "user_id": [f"u{n}" for n in range(20)],
        "größe": [n / 3 for n in range(20)],
        "outcome_ts": pa.array(range(20), pa.timestamp("us", tz="UTC")),
        "more": [{"x": [n]} for n in range(20)],
    }
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


def test_a_parquet_file_damaged_at_random_has_a_footer_or_a_reason(tmp_path: Path, sound: bytes) -> None:
    random = Random(1)
    for number in range(FILES):
        (tmp_path / f"{number:05}.parquet").write_bytes(damaged(sound, random))
    places = [(str(path), str(path)) for path in sorted(tmp_path.iterdir())]
    footers, broken = read_footers(fs.LocalFileSystem(), places)
    assert len(footers) + len(broken) == FILES
    assert broken and footers
    assert all(reason and len(reason.splitlines()) == 1 for reason in broken.values())
    assert all(isinstance(footer, Footer) for footer in footers)


def test_a_column_whose_name_is_no_text_is_a_reason(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(sound.replace("größe".encode(), b"gr\xcc\xcc\xcc\xcce"))
    footers, broken = read_footers(fs.LocalFileSystem(), [(str(path), str(path))])
    assert not footers
    assert "codec can't decode" in broken[str(path)]


def test_the_first_line_of_a_damaged_csv_is_text_or_no_csv(tmp_path: Path) -> None:
    random = Random(2)
    plain = b'user_id,value,outcome_ts\n"u,1",1.5,2026-01-06T10:00:00Z\r\nu\r2,,\n'
    refused = 0
    for number in range(FILES):
        packed = number % 2 == 0
        content = damaged(gzip.compress(plain, mtime=0) if packed else plain, random)
        try:
            line = first_line_of(content, "a.csv.gz" if packed else "a.csv")
            shape_of(line, ",")
        except (ValueError, zlib.error):
            refused += 1
        else:
            assert "\n" not in line
    assert 0 < refused < FILES


@pytest.mark.parametrize("line", ["a\rb", "a\x00b", '"a', "x" * 65536, ",".join("x" * 40_000)])
def test_a_line_without_a_header_has_a_width_or_is_no_csv(line: str) -> None:
    try:
        assert set(shape_of(line, ",")) <= set("_,")
    except ValueError as error:
        assert "cannot be split into fields" in str(error)
