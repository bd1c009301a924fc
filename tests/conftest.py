"""Fixtures that every test may use: one Spark session, and a project of its own in a temp folder."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Set before NumPy is imported: beside other work, threads that wait for each other's part of a small product of
# matrices cost three times what the product costs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import yaml
from hypothesis import settings
from tests import metadata_cache, order, processor_time, progress

from exp_platform.config.load import Project, load_project

# Nothing that is collected becomes garbage; looking for some was a third of what the collection of tests cost.
gc.disable()

ROOT = Path(__file__).resolve().parents[1]

# A test's JVM is over, or does something new, before the optimising compiler pays: without that compiler and with one
# thread that collects garbage, Spark costs a third less. The code cache is as large as it is with both compilers.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
os.environ.setdefault("SPARK_SUBMIT_OPTS", SHORT_LIVED)
os.environ.setdefault("SPARK_LAUNCHER_OPTS", SHORT_LIVED)

# Configuration may hold no aliases, which the dumper writes for an object that occurs twice.
yaml.SafeDumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]

metadata_cache.install()

# A machine that is busy is no fault of the code: no example has a deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

LEFT_OUT = pytest.StashKey[list[str]]()


def make_project(folder: Path, **profile: object) -> Project:
    """A small clone in `folder`: the shipped configuration with lake, raw zone and memos of its own."""
    if not (folder / "configs").exists():
        shutil.copytree(ROOT / "configs", folder / "configs")
    path = folder / "configs" / "dev.yaml"
    content = yaml.safe_load(path.read_text())
    content["spark"] |= {"driver_memory": "1g", "shuffle_partitions": 2}
    content |= profile
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_project(path)


def pytest_configure(config: pytest.Config) -> None:
    """Count the processor time of each test file, and say now and then how many tests are left."""
    config.pluginmanager.register(processor_time, "processor_time")
    progress.register(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes many minutes unless it is asked for, and begin with the files that take longest.

    Workers take whole files in this order: while one waits for Airflow the others compute; short files fill the end.
    """
    if "long" not in config.option.markexpr:
        left = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)
        config.stash[LEFT_OUT] = [item.nodeid for item in left]
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = config.stash.get(LEFT_OUT, [])
    marks: dict[str, set[str]] = {}
    for item in items:
        marks.setdefault(file_of(item), set()).update(mark.name for mark in item.iter_markers())
    items.sort(key=lambda item: order.rank(file_of(item), marks[file_of(item)]))


def pytest_collection_finish() -> None:
    """From here on look for garbage among what tests make, not among the modules and tests that are there for good."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(5000, 10, 20)


def pytest_unconfigure() -> None:
    """Let the interpreter clear away at its end what was set aside; a library prints each object that stays."""
    gc.unfreeze()


def file_of(item: pytest.Item) -> str:
    """The path of a test's file in the clone."""
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take from a worker that has ended what was left out and what was spent, for the summary."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[LEFT_OUT] = output.get("left_out", [])
    processor_time.collect(node.config, output.get("processor_seconds", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests did not run, and which files took most of the processor."""
    terminalreporter.section("processor seconds")
    terminalreporter.write_line("\n".join(processor_time.lines(config)))
    left = config.stash.get(LEFT_OUT, [])
    if left:
        terminalreporter.section("left out")
        terminalreporter.write_line(f"{len(left)} tests take many minutes each and did not run: make test-long")
        functions = Counter(test.partition("[")[0] for test in left)
        terminalreporter.write_line("\n".join(f"{many:4} {function}" for function, many in functions.items()))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The shipped configuration in a temp folder, with nothing in its lake."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def session_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project whose catalog the shared Spark session knows as `iceberg`."""
    return make_project(tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="session")
def spark(session_project: Project) -> Iterator[object]:
    """One Spark session for all tests: local[2], catalog `iceberg` in a temp folder."""
    from exp_platform.spark.session import build_spark_session

    session = build_spark_session("tests", session_project)
    yield session
    session.stop()


@pytest.fixture
def write_yaml() -> Callable[[Path, object], Path]:
    """Write content as YAML, return the path."""

    def write(path: Path, content: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write
