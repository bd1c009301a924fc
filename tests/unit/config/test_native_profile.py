"""What a profile's `native` sets, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import make_project

from exp_platform.spark import jars
from exp_platform.spark.session import is_native, launch_conf, session_conf


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the native library is looked for; it is there."""
    monkeypatch.setattr(jars, "jar_folder", lambda: tmp_path / "jars")
    found = jars.native_library()
    found.parent.mkdir(parents=True)
    found.touch()
    return found


def test_a_native_profile_sets_the_plugin_and_its_memory(library: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path, spark={"native": True, "native_memory": "700m"})
    conf = session_conf(project)
    assert conf["spark.plugins"] == "org.apache.spark.CometPlugin"
    assert conf["spark.memory.offHeap.size"] == "700m"
    assert f"-Djava.library.path={library.parent}" in launch_conf(project)["spark.driver.extraJavaOptions"]


def test_executors_of_a_cluster_are_told_too(library: Path, tmp_path: Path) -> None:
    conf = launch_conf(make_project(tmp_path, spark={"native": True, "master": "spark://there:7077"}))
    assert str(library.parent) in conf["spark.executor.extraJavaOptions"]
    assert conf["spark.executorEnv.MALLOC_ARENA_MAX"] == "2"


def test_a_profile_that_does_not_ask_gets_none_of_it(library: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path, spark={"master": "spark://there:7077"})
    said = session_conf(project) | launch_conf(project)
    assert not [key for key in said if "offHeap" in key or "comet" in key or key == "spark.plugins"]
    assert "spark.executor.extraJavaOptions" not in said


def test_where_there_is_no_library_the_profile_runs_without(library: Path, tmp_path: Path) -> None:
    library.unlink()
    assert not is_native(make_project(tmp_path, spark={"native": True}))
