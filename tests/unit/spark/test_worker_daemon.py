"""The process from which Spark forks its Python workers."""

from __future__ import annotations

import sys

import pytest

from exp_platform.spark import worker_daemon


def test_archives_leave_the_import_path_and_folders_keep_their_order() -> None:
    assert worker_daemon.without_archives(["/b", "/spark/pyspark.zip", "/a", "/x/spark-core.jar"]) == ["/b", "/a"]


def test_archives_stay_where_pyspark_is_installed_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ["/spark/pyspark.zip", "/nothing/here"]
    monkeypatch.setattr(sys, "path", path[:])
    monkeypatch.setattr(worker_daemon, "find_spec", lambda name: None)
    worker_daemon.use_installed_packages()
    assert sys.path == path


def test_an_archive_is_forgotten_by_the_import_system_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/spark/pyspark.zip", *sys.path])
    monkeypatch.setitem(sys.path_importer_cache, "/spark/pyspark.zip", None)
    worker_daemon.use_installed_packages()
    assert "/spark/pyspark.zip" not in sys.path
    assert "/spark/pyspark.zip" not in sys.path_importer_cache
