"""The swap of a generated folder, on a disk and in a store without renames."""

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from exp_platform.synth.folder import Folder

MARKER = "_synthetic.json"


def _folder(path: Path, *, object_store: bool) -> Folder:
    if object_store:  # not a LocalFileSystem: files are copied one by one
        return Folder(pafs.SubTreeFileSystem(str(path.parent), pafs.LocalFileSystem()), path.name, f"s3a://{path.name}")
    return Folder(pafs.LocalFileSystem(), str(path), str(path))


def _fill(folder: Folder, number: int) -> None:
    folder.write_json(f"exposures/dt=2026-01-0{number}/part.parquet", number)
    folder.write_json(MARKER, {"seed": number})


@pytest.mark.parametrize("object_store", [False, True])
def test_the_new_folder_takes_the_old_ones_place_whole(tmp_path: Path, object_store: bool) -> None:
    folder = _folder(tmp_path / "exp_one", object_store=object_store)
    new = Folder(folder.fs, folder.path.replace("exp_one", "_new_exp_one"), "unused")
    _fill(folder, 1)
    _fill(new, 2)
    folder.replace_with(new, last=MARKER)
    assert folder.read_json(MARKER) == {"seed": 2}
    assert [path.split("exp_one/")[1] for path in folder.files()] == [MARKER, "exposures/dt=2026-01-02/part.parquet"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exp_one"]


def test_a_folder_is_put_where_none_was(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "exp_one", object_store=False)
    new = folder.sibling("_new_")
    _fill(new, 3)
    folder.replace_with(new, last=MARKER)
    assert folder.read_json(MARKER) == {"seed": 3}


def test_a_marker_that_is_missing_or_cut_off_reads_as_none(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "exp_one", object_store=False)
    assert (folder.read_json(MARKER), folder.files()) == (None, [])
    (tmp_path / "exp_one").mkdir()
    (tmp_path / "exp_one" / MARKER).write_text('{"seed": ')
    assert folder.read_json(MARKER) is None
