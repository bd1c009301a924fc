"""A path of the store behaves as a path does, and a store that refuses or is gone is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.lake import store_path
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.store_path import StorePath, page_folder
from exp_platform.lake.whole import write_whole
from exp_platform.memo.index.store import _kept
from exp_platform.pipelines import last_word
from exp_platform.pipelines.last_word import LastWord

Fake = Callable[[Project, str], tuple[fs.FileSystem, str]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "clone", memo_dir="s3a://pages/memos")


@pytest.fixture
def memos(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorePath:
    """The memos' place, in a store that is a local folder."""

    def local(of: Project, location: str) -> tuple[fs.FileSystem, str]:
        path = location.partition("://")[2]
        (tmp_path / "store" / path).parent.mkdir(parents=True, exist_ok=True)
        return fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem()), path

    monkeypatch.setattr(store_path, "filesystem", local)
    found = page_folder(project, project.profile.memo_dir)
    assert isinstance(found, StorePath)
    return found


def refusing(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(of: Project, location: str) -> tuple[fs.FileSystem, str]:
        raise OSError(said)

    monkeypatch.setattr(store_path, "filesystem", refuse)


def test_a_file_is_written_read_and_found_by_its_suffix(memos: StorePath) -> None:
    write_whole(memos / "exp_a.json", '{"ä": 1}')
    write_whole(memos / "exp_a" / "2026-01-10.json", "{}")
    write_whole(memos / "exp_a.html", "<p>")
    assert (memos / "exp_a.json").read_text() == '{"ä": 1}'
    assert [str(found) for found in memos.glob("*.json")] == ["s3a://pages/memos/exp_a.json"]
    assert [found.name for found in memos.glob("exp_a/*.json")] == ["2026-01-10.json"]
    assert memos.glob("nowhere/*.json") == []
    [found] = memos.glob("*.json")
    assert (found.stem, found.suffix, found.stat().st_size, found.stat().st_ino) == ("exp_a", ".json", 9, 0)
    assert found.with_suffix(".html").is_file() and not (memos / "exp_b.html").is_file()
    assert found.media_type == "application/json; charset=utf-8"


def test_a_file_that_is_not_there_is_no_outage(memos: StorePath) -> None:
    with pytest.raises(FileNotFoundError):
        (memos / "exp_b.json").read_text()
    with pytest.raises(FileNotFoundError):
        (memos / "exp_b.json").stat()


def test_a_store_that_is_gone_is_one_sentence_and_may_be_retried(
    memos: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "curlCode: 7, Couldn't connect to server\nmore")
    monkeypatch.setattr(store_path, "require_bucket", lambda *where: (_ for _ in ()).throw(OSError("gone too")))
    with pytest.raises(ExpError) as caught:
        (memos / "exp_a.html").write_text("x")
    assert str(caught.value) == (
        "s3a://pages/memos/exp_a.html cannot be written: the object store does not answer as it should "
        "(curlCode: 7, Couldn't connect to server); it is tried again"
    )
    assert caught.value.exit_code == 1


def test_a_bucket_that_is_not_there_is_refused_for_good(memos: StorePath, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, "AWS Error NO_SUCH_BUCKET")

    def missing(of: Project, location: str) -> None:
        raise ConfigError(f"the bucket of {location} is not in the object store")

    monkeypatch.setattr(store_path, "require_bucket", missing)
    with pytest.raises(ConfigError, match="the bucket of s3a://pages/memos is not in the object store"):
        (memos / "exp_a.html").write_text("x")


@pytest.mark.parametrize(("seconds", "trusted"), [(1.9, False), (2.1, True)])
def test_an_entry_of_the_index_is_trusted_two_seconds_after_its_memo(
    memos: StorePath, monkeypatch: pytest.MonkeyPatch, seconds: float, trusted: bool
) -> None:
    from exp_platform.memo.index import store

    entry = store.entries.without_memo("exp_a", "A", "growth", "running", "")
    written = 1_000_000_000_000
    write_whole(memos / store.KEPT, store._to_text({"exp_a": ((5, written, 0), entry)}))
    kept = store_path.Stat(1, written + int(seconds * 1e9))
    monkeypatch.setattr(StorePath, "stat", lambda path: kept)
    assert ("exp_a" in _kept(memos)) is trusted


def test_the_buckets_of_pages_and_of_last_words_are_made_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("exp_platform.lake.object_store.ensure_bucket", lambda of, place: (made.append(place), "b")[1])
    submit = {"deploy_mode": "cluster", "outcomes": "s3a://words/jobs"}
    places = {"raw_root": "s3a://raw", "memo_dir": "s3a://pages/memos", "docs_dir": "s3a://pages/docs"}
    project = make_project(tmp_path, submit=submit, spark={"master": "yarn"}, **places)
    assert ensure_buckets(project) == ["b"]
    assert made == ["s3a://raw", "s3a://pages/memos", "s3a://pages/docs", "s3a://words/jobs"]


def test_a_job_leaves_its_last_word_once_and_only_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path / "clone")
    place = str(tmp_path / "words" / "job-1.json")
    monkeypatch.delenv(last_word.VARIABLE, raising=False)
    last_word.leave(65, "nothing is asked", [])
    assert last_word.take(project, place) is None
    monkeypatch.setenv(last_word.VARIABLE, place)
    last_word.leave(65, "7 rows are refused", ["job.py", f"--config={project.path}"])
    assert last_word.take(project, place) == LastWord(65, "7 rows are refused")
    assert last_word.take(project, place) is None
    last_word.leave(64, "no such file", ["job.py", "--config=nowhere.yaml"])  # its profile is what is wrong
    assert last_word.take(project, place) == LastWord(64, "no such file")
    Path(place).write_text("half a wo")
    assert last_word.take(project, place) is None
    monkeypatch.setenv(last_word.VARIABLE, "s3a://")
    last_word.leave(1, "x", [f"--config={project.path}"])
    assert "the last word could not be left in s3a://" in capsys.readouterr().err
