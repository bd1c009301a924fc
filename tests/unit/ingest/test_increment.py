"""The files that a run has to read."""

from __future__ import annotations

from exp_platform.ingest.increment import IngestedFile, decode_files, encode_files, known_files, plan
from exp_platform.ingest.raw_files import RawFile


def now(path: str, size: int = 10, written: str = "1") -> RawFile:
    return RawFile(path, size, f"{written}.contract")


def then(path: str, size: int = 10, written: str = "1", contract: str = "contract") -> IngestedFile:
    return IngestedFile(path, size, f"{written}.{contract}", rows=3, refused=1)


def known(*files: IngestedFile) -> dict[str, IngestedFile]:
    return {file.path: file for file in files}


def test_the_first_run_reads_everything() -> None:
    decided = plan([now("a"), now("b")], {})
    assert decided.mode == "whole"
    assert [file.path for file in decided.read] == ["a", "b"]


def test_without_files_there_is_nothing_to_do() -> None:
    assert plan([], {}).mode == "unchanged"


def test_the_same_files_are_not_read_again() -> None:
    decided = plan([now("a")], known(then("a")))
    assert (decided.mode, decided.read, decided.unchanged) == ("unchanged", (), ("a",))


def test_only_new_files_are_read() -> None:
    decided = plan([now("a"), now("b"), now("c")], known(then("b")))
    assert decided.mode == "append"
    assert [file.path for file in decided.read] == ["a", "c"]
    assert decided.unchanged == ("b",)


def test_a_changed_file_has_the_whole_dataset_read_again_and_is_named() -> None:
    for changed in (now("a", size=11), now("a", written="2")):
        decided = plan([changed, now("b")], known(then("a"), then("b")))
        assert decided.mode == "whole"
        assert decided.changed == ("a",)
        assert [file.path for file in decided.read] == ["a", "b"]
        assert "1 changed (a)" in decided.reason


def test_a_vanished_file_has_the_whole_dataset_read_again_also_when_none_is_left() -> None:
    decided = plan([now("b")], known(then("a"), then("b")))
    assert (decided.mode, decided.vanished) == ("whole", ("a",))
    decided = plan([], known(then("a")))
    assert (decided.mode, decided.read, decided.vanished) == ("whole", (), ("a",))


def test_a_reason_to_read_everything_is_enough_and_counts_no_file_as_changed() -> None:
    decided = plan([now("a")], known(then("a", contract="an older one")), "the contract changed")
    assert (decided.mode, decided.changed, decided.reason) == ("whole", (), "the contract changed")


def test_a_file_list_survives_the_snapshot_summary() -> None:
    files = [then(f"s3a://raw/dt=2026-01-{day:02}/part.parquet") for day in range(1, 29)]
    assert decode_files(encode_files(files)) == files
    assert len(encode_files(files)) < 1000


def test_the_list_committed_with_the_events_mends_the_record() -> None:
    recorded, added = then("a"), then("b")
    assert known_files([recorded], [added], "append") == known(recorded, added)
    assert known_files([recorded], [added], "overwrite") == known(added)
    assert known_files([recorded], [], None) == known(recorded)
