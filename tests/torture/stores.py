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
            last=stage,
        )
        yield Scenario(
            "disk",
            f"{stage.name}: the warehouse is read-only",
            "its file system is remounted read-only; then writable, and the stage is tried again",
            f"exit 1; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_read_only, stage),
            last=stage,
        )
        yield Scenario(
            "catalog",
            f"{stage.name}: the catalog is locked for {locked_seconds:g} s",
            "another process holds the write lock of the embedded catalog",
            "exit 0 after the lock",
            f"before {stage.name}",
            partial(_locked, stage, locked_seconds),
            last=stage,
        )
        yield Scenario(
            "catalog",
            f"{stage.name}: the current metadata file of a table is missing",
            f"the file of {stage.publishes[0]} is moved away, then back, and the stage is tried again",
            f"exit 64; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_without_metadata, stage),
            last=stage,
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
        last=stage,
    )


def lost_catalogs(stage: Stage) -> Iterator[Scenario]:
    """The file of the embedded catalog is gone or damaged beside a full warehouse; then it is put back."""
    for what, harm in (("deleted", None), ("emptied", 0.0), ("cut in half", 0.5)):
        yield Scenario(
            "catalog",
            f"{stage.name}: the catalog's file is {what}",
            f"the file is {what} and the stage is started; the file is put back, and the stage is tried again",
            f"exit 64; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_without_catalog, stage, harm),
            last=stage,
        )


def full_catalog(stage: Stage) -> Scenario:
    """The catalog lies on a disk without room, the warehouse on another."""
    return Scenario(
        "disk",
        f"{stage.name}: the catalog's disk is full",
        "no byte is free beside the catalog's file; then space is made and the stage is tried again",
        f"exit 1; {ALL_OR_NOTHING}",
        f"before {stage.name}",
        partial(_full_catalog, stage),
        last=stage,
    )


def full_memos(stage: Stage) -> Scenario:
    """The folder of memos has no room."""
    return Scenario(
        "disk",
        f"{stage.name}: the memos' disk is full",
        "no byte is free in the folder of memos; then space is made and the stage is tried again",
        f"exit 1; {ALL_OR_NOTHING}",
        f"before {stage.name}",
        partial(_full_memos, stage),
    )


def _without_catalog(stage: Stage, kept: float | None, bench: Bench) -> tuple[str, Run]:
    path = _catalog_alone(bench)
    content = path.read_bytes()
    _replace(path, None if kept is None else content[: int(len(content) * kept)])
    end = ended(forked(lambda: bench.world.stage(bench.world.run(), stage)))
    _replace(path, content)
    return _seen(bench, stage, str(end))


def _catalog_alone(bench: Bench) -> Path:
    """The catalog's file, with nothing left in the log beside it: a commit must make that longer."""
    path = Path(bench.world.project.resolve(bench.world.project.profile.catalog.uri))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _replace(path: Path, content: bytes | None) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith(".backup"):
            file.unlink()
    if content is not None:
        path.write_bytes(content)


def _full_catalog(stage: Stage, bench: Bench) -> tuple[str, Run]:
    _catalog_alone(bench)
    with small_disk(bench.world.data, elsewhere="warehouse") as data:
        return _tried_again(bench, stage, filled(data, 0))


def _full_memos(stage: Stage, bench: Bench) -> tuple[str, Run]:
    memos = Path(bench.world.project.resolve(bench.world.project.profile.memo_dir))
    with small_disk(memos) as folder:
        return _tried_again(bench, stage, filled(folder, 0))


def _full_disk(stage: Stage, bench: Bench) -> tuple[str, Run]:
    with small_disk(_warehouse(bench)) as warehouse:
        return _tried_again(bench, stage, filled(warehouse, FREE))


def _read_only(stage: Stage, bench: Bench) -> tuple[str, Run]:
    with small_disk(_warehouse(bench)) as warehouse:
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
    bench.world.stages(run, [stage])
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
    bench.world.stages(run, [stage])
    return seen, run


def _warehouse(bench: Bench) -> Path:
    return Path(bench.world.project.resolve(bench.world.project.profile.catalog.warehouse))


def filled(folder: Path, free: int) -> Callable[[], None]:
    """Fill a folder's file system but for some bytes; what is returned makes room again."""
    filler = folder / "filler"
    filler.write_bytes(b"0" * max(0, shutil.disk_usage(folder).free - free))
    return filler.unlink


@contextmanager
def small_disk(folder: Path, elsewhere: str = "") -> Iterator[Path]:
    """A folder on a small file system of its own, for the length of a `with` block.

    A folder in it that is named `elsewhere` stays where it was.
    """
    aside = folder.with_name(f"{folder.name}.aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder))
    except NotPossible:
        folder.rmdir()
        aside.rename(folder)
        raise
    try:
        left_out = shutil.ignore_patterns(elsewhere) if elsewhere else None
        shutil.copytree(aside, folder, dirs_exist_ok=True, ignore=left_out)
        if elsewhere:
            (folder / elsewhere).mkdir()
            _mount("--bind", str(aside / elsewhere), str(folder / elsewhere))
        yield folder
    finally:
        if elsewhere:
            subprocess.run(["umount", str(folder / elsewhere)], check=True)
            (folder / elsewhere).rmdir()
        kept = folder.with_name(f"{folder.name}.kept")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        subprocess.run(["umount", "-l", str(folder)], check=True)  # this process may hold the catalog open
        folder.rmdir()
        if elsewhere:
            (aside / elsewhere).rename(kept / elsewhere)
        kept.rename(folder)
        shutil.rmtree(aside)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        raise NotPossible("only root may mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossible(f"a file system cannot be mounted here ({done.stderr.strip()})")
