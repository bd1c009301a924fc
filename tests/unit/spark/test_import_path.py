"""Where Python finds pyspark in drivers and workers."""

from __future__ import annotations

import sys

import pytest

from exp_platform.spark import import_path


def test_archives_leave_the_import_path_and_folders_keep_their_order() -> None:
    path = ["/b", "/spark/pyspark.zip", "pyspark.zip", "/a/py4j-0.10.9.9-src.zip", "/a", "/x/spark-core.jar"]
    assert import_path.without_archives(path) == ["/b", "/a"]


def test_an_archive_of_other_code_stays_on_the_import_path() -> None:
    path = ["/files/executor.zip", "/files/my_pyspark.zip", ""]
    assert import_path.without_archives(path) == path


def test_archives_stay_where_pyspark_is_installed_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ["/spark/pyspark.zip", "/nothing/here"]
    monkeypatch.setattr(sys, "path", path[:])
    monkeypatch.setattr(import_path, "find_spec", lambda name: None)
    import_path.use_installed_packages()
    assert sys.path == path


def test_an_archive_is_forgotten_by_the_import_system_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/spark/pyspark.zip", *sys.path])
    monkeypatch.setitem(sys.path_importer_cache, "/spark/pyspark.zip", None)
    import_path.use_installed_packages()
    assert "/spark/pyspark.zip" not in sys.path
    assert "/spark/pyspark.zip" not in sys.path_importer_cache
