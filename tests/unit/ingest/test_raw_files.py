"""Data files are told from other files, and their footers are read."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from exp_platform.ingest.engine_errors import problem_of
from exp_platform.ingest.events import day_ranges
from exp_platform.ingest.parquet import group_alike, read_footers
from exp_platform.ingest.raw_files import SUFFIXES, list_files

LOCAL = fs.LocalFileSystem()


def listed(folder: Path, kind: str = "parquet") -> list[str]:
    return [Path(f.path).name for f in list_files(LOCAL, str(folder), str(folder), SUFFIXES[kind])]


def test_files_are_found_at_any_depth_in_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("dt=2026-01-02/b.parquet", "dt=2026-01-01/c.parquet", "a.parquet", "x/y/z.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert listed(tmp_path) == ["a.parquet", "c.parquet", "b.parquet", "z.parquet"]


def test_hidden_files_folders_and_other_kinds_are_no_data(tmp_path: Path) -> None:
    for name in ("_SUCCESS", "_tmp/a.parquet", ".b.parquet", "x/.hidden/c.parquet", "d.csv", "e.parquet.crc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    assert listed(tmp_path) == []
    assert listed(tmp_path, "csv") == ["d.csv"]


def test_a_hidden_folder_above_the_raw_zone_hides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "_odd" / ".place"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(b"1")
    assert listed(folder) == ["a.parquet"]


def test_a_location_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert listed(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("dt=1/x.parquet", "../elsewhere/secret.parquet"),  # rows of another place
        ("dt=1/all", "../elsewhere"),
        ("dt=1/round", "."),  # leads in a circle
        ("dt=1/gone.parquet", "../nowhere.parquet"),
    ],
)
def test_a_link_that_leads_out_of_the_raw_folder_or_round_in_a_circle_is_refused(
    tmp_path: Path, link: str, target: str
) -> None:
    raw = tmp_path / "raw"
    for name in ("raw/dt=1/a.parquet", "elsewhere/secret.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (raw / link).symlink_to(raw / target)
    with pytest.raises(PermissionError, match=f"the symbolic link {link} leads to .*: put the files themselves"):
        listed(raw)
    (raw / link).unlink()
    (raw / "dt=1" / "again.parquet").symlink_to(raw / "dt=1" / "a.parquet")
    assert listed(raw) == ["a.parquet", "again.parquet"]
    (tmp_path / "by_another_name").symlink_to(raw)
    assert listed(tmp_path / "by_another_name") == ["a.parquet", "again.parquet"], "the location itself may be a link"


def test_writing_a_file_again_changes_its_fingerprint_or_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"1")
    [before] = list_files(LOCAL, str(path), str(path), ())
    os.utime(path, ns=(1, 1))
    [after] = list_files(LOCAL, str(path), str(path), ())
    assert (before.path, before.size) == (after.path, after.size)
    assert before.fingerprint != after.fingerprint


def test_files_with_the_same_types_of_the_needed_columns_are_read_together(tmp_path: Path) -> None:
    def write(name: str, **columns: pa.Array) -> tuple[str, str]:
        pq.write_table(pa.table(columns), tmp_path / name)
        return name, str(tmp_path / name)

    places = [
        write("a", value=pa.array([1.0])),
        write("b", value=pa.array([1])),
        write("c", value=pa.array([1.0]), extra=pa.array(["x"])),
    ]
    footers, broken = read_footers(LOCAL, places)
    assert broken == {}
    assert [[f.path for f in group] for group in group_alike(footers, ["value"])] == [["a", "c"], ["b"]]
    assert [[f.path for f in group] for group in group_alike(footers, None)] == [["a"], ["b"], ["c"]]


def test_a_file_without_a_sound_footer_is_told_apart_and_the_others_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"value": [1.0, 2.0]}), tmp_path / "good")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"a,b,c\n1,2,3\n")
    whole = (tmp_path / "good").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    footers, broken = read_footers(LOCAL, [(n, str(tmp_path / n)) for n in ("good", "empty", "text", "cut", "gone")])
    assert [(f.path, f.rows) for f in footers] == [("good", 2)]
    assert sorted(broken) == ["cut", "empty", "gone", "text"]


def test_days_next_to_each_other_are_one_range() -> None:
    days = [date(1970, 1, 3), date(1970, 1, 1), date(1970, 1, 2), date(1970, 1, 9), date(1970, 1, 9)]
    assert day_ranges(days) == [(0, 3), (8, 9)]
    assert day_ranges([date.max, date.min]) == [(-719162, -719161), (2932896, 2932897)]
    assert day_ranges([]) == []


def test_a_fault_of_the_platform_is_not_blamed_on_the_data() -> None:
    assert problem_of(RuntimeError("java.lang.OutOfMemoryError: Java heap space"), "outcomes", "/raw") is None


def test_an_object_store_that_does_not_answer_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    read = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file s3a://raw/a.parquet. SQLSTATE: KD001\n"
    torn = problem_of(RuntimeError(read + "Caused by: java.io.IOException: bad page header"), "outcomes", "s3a://raw")
    assert torn is not None
    assert torn.place == "s3a://raw/a.parquet"
    assert torn.what.endswith("its footer is sound (IOException: bad page header)")
    away = read + "Caused by: org.apache.hadoop.fs.s3a.AWSClientIOException: Unable to execute HTTP request"
    assert problem_of(RuntimeError(away), "outcomes", "s3a://raw") is None

    def unanswered(*_: object) -> None:
        raise OSError("When reading 'a.parquet': AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7")

    monkeypatch.setattr("exp_platform.ingest.parquet.pq.ParquetFile", unanswered)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        read_footers(LOCAL, [(__file__, __file__)])
