"""The class archive belongs to one Java and one set of jars, and a build that fails says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from exp_platform.spark import fast_start


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one jar, and an archive that was made for it."""
    for folder in (".jars", ".setup"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".jars" / "iceberg.jar").touch()
    (tmp_path / ".setup" / "spark.jsa").touch()
    monkeypatch.setattr(fast_start, "clone_root", lambda: tmp_path)
    (tmp_path / ".setup" / "spark.stamp").write_text(fast_start.archive_stamp())
    return tmp_path


@pytest.mark.usefixtures("clone")
def test_an_archive_fits_the_jars_that_it_was_made_with() -> None:
    assert fast_start.fits()


def test_an_archive_no_longer_fits_when_a_jar_is_added(clone: Path) -> None:
    (clone / ".jars" / "hadoop-aws.jar").touch()

    assert not fast_start.fits()


def test_an_archive_no_longer_fits_another_java(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_start, "find_java_home", lambda: "/opt/another-java")

    assert not fast_start.fits()


def test_an_archive_no_longer_fits_another_application(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_start, "_APPLICATION", "nothing")

    assert not fast_start.fits()


def test_setup_has_written_the_archive_of_this_clone() -> None:
    assert fast_start.fits(), "the application that fills the archive failed: `make setup` prints its reason"


def test_an_application_that_fails_leaves_no_archive_of_what_it_had_loaded(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "configs").mkdir()
    profile = "profile: dev\nraw_root: raw\ncatalog: {type: sqlite, uri: catalog.db, warehouse: warehouse}\n"
    (clone / "configs" / "dev.yaml").write_text(profile)
    home = clone / "java"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\ntouch {clone}/.setup/spark.jsa\necho 'ValidationException: no row' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setattr(fast_start, "find_java_home", lambda: str(home))

    reason = fast_start.build_archive()

    assert "ValidationException: no row" in reason
    assert not (clone / ".setup" / "spark.jsa").exists()


def test_a_build_that_fails_says_why_and_leaves_no_archive(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "configs").mkdir()
    profile = "profile: dev\nraw_root: raw\ncatalog: {type: sqlite, uri: catalog.db, warehouse: warehouse}\n"
    (clone / "configs" / "dev.yaml").write_text(profile)
    monkeypatch.setattr(fast_start, "find_java_home", lambda: str(clone / "no-java"))

    reason = fast_start.build_archive()

    assert "no-java/bin/java: No such file" in reason
    assert not fast_start.fits()
