"""Scenarios of the places where rows lie: a full disk, one that cannot be written, a locked catalog, a lost file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.torture.bench import Bench, NotPossible, Scenario
from tests.torture.points import ended, forked
from tests.torture.processes import ALL_OR_NOTHING

from exp_platform.lake.catalog import load_handle
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

FREE = 24 * 1024  # bytes that a full disk has left: some files can be written, not all
SPACE = 64 * 1024 * 1024


def stores(stages: Iterable[Stage], locked_seconds: float = 5.0) -> Iterator[Scenario]:
    """The scenarios of each stage."""
    for stage in stages:
        yield Scenario(
            "disk",
            f"{stage.name}: the warehouse's disk is full",
            f"{FREE // 1024} KB are free; then space is made and the stage is tried again",
            f"exit 1; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_full_disk, stage),
        )
        yield Scenario(
            "disk",
            f"{stage.name}: the warehouse is read-only",
            "its file system is remounted read-only; then writable, and the stage is tried again",
            f"exit 1; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_read_only, stage),
        )
        yield Scenario(
            "catalog",
            f"{stage.name}: the catalog is locked for {locked_seconds:g} s",
            "another process holds the write lock of the embedded catalog",
            "exit 0 after the lock",
            f"before {stage.name}",
            partial(_locked, stage, locked_seconds),
        )
        yield Scenario(
            "catalog",
            f"{stage.name}: the current metadata file of a table is missing",
            f"the file of {stage.publishes[0]} is moved away, then back, and the stage is tried again",
            f"exit 64; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_without_metadata, stage),
        )


def locked_for_long(stage: Stage, seconds: float) -> Scenario:
    """A catalog that is locked for longer than its clients wait."""
    return Scenario(
        "catalog",
        f"{stage.name}: the catalog is locked for {seconds:g} s",
        "another process holds the write lock for longer than a client waits; the stage is tried again",
        "exit 1 after the lock",
        f"before {stage.name}",
        partial(_locked, stage, seconds),
    )


def _full_disk(stage: Stage, bench: Bench) -> tuple[str, Run]:
    with _small_disk(bench) as warehouse:
        filler = warehouse / "filler"
        free = shutil.disk_usage(warehouse).free
        filler.write_bytes(b"0" * max(0, free - FREE))
        return _tried_again(bench, stage, filler.unlink)


def _read_only(stage: Stage, bench: Bench) -> tuple[str, Run]:
    with _small_disk(bench) as warehouse:
        _mount("-o", "remount,ro", str(warehouse))
        return _tried_again(bench, stage, lambda: _mount("-o", "remount,rw", str(warehouse)))


def _locked(stage: Stage, seconds: float, bench: Bench) -> tuple[str, Run]:
    run, path = bench.world.run(), bench.world.project.resolve(bench.world.project.profile.catalog.uri)
    reading, writing = os.pipe()

    def hold() -> None:
        connection = sqlite3.connect(path)
        connection.execute("BEGIN IMMEDIATE")
        os.write(writing, b"held")
        time.sleep(seconds)
        connection.rollback()

    holder = forked(hold)  # a process of its own: a connection to SQLite does not survive a fork
    os.read(reading, 4)
    began = time.monotonic()
    end = ended(forked(lambda: bench.world.stage(run, stage)))
    waited = "after the lock" if time.monotonic() - began >= seconds else "before the lock was given back"
    ended(holder)
    bench.world.rest(run, stage)
    return f"{end} {waited}", run


def _without_metadata(stage: Stage, bench: Bench) -> tuple[str, Run]:
    location = load_handle(bench.world.project, stage.publishes[0]).metadata_location
    path = Path(location.removeprefix("file://"))
    away = path.with_suffix(".away")
    path.rename(away)
    end = ended(forked(lambda: bench.world.stage(bench.world.run(), stage)))
    away.rename(path)
    return _seen(bench, stage, str(end))


def _tried_again(bench: Bench, stage: Stage, mend: Callable[[], None]) -> tuple[str, Run]:
    end = ended(forked(lambda: bench.world.stage(bench.world.run(), stage)))
    mend()
    return _seen(bench, stage, str(end))


def _seen(bench: Bench, stage: Stage, end: str) -> tuple[str, Run]:
    run = bench.world.run()
    seen = f"{end}; {'; '.join(bench.half_published(stage)) or ALL_OR_NOTHING}"
    bench.world.rest(run, stage)
    return seen, run


@contextmanager
def _small_disk(bench: Bench) -> Iterator[Path]:
    """The warehouse on a file system of its own, for the length of a `with` block."""
    warehouse = Path(bench.world.project.resolve(bench.world.project.profile.catalog.warehouse))
    aside = warehouse.with_name("warehouse.aside")
    warehouse.rename(aside)
    warehouse.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(warehouse))
    except NotPossible:
        warehouse.rmdir()
        aside.rename(warehouse)
        raise
    try:
        shutil.copytree(aside, warehouse, dirs_exist_ok=True)
        yield warehouse
    finally:
        kept = warehouse.with_name("warehouse.kept")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(warehouse, kept)
        subprocess.run(["umount", str(warehouse)], check=True)
        warehouse.rmdir()
        kept.rename(warehouse)
        shutil.rmtree(aside)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        raise NotPossible("only root may mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossible(f"a file system cannot be mounted here ({done.stderr.strip()})")
