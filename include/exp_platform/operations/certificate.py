"""Does this catalog with this store keep what the platform builds on? Proved on a scratch table that is dropped again.

Everything goes through PyIceberg, as the claims, the pins and the small tables do; no Spark session is started.
"""

from __future__ import annotations

import logging
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from pyarrow import fs
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table as IcebergTable
from pyiceberg.view.metadata import SQLViewRepresentation, ViewRepresentation, ViewVersion

from exp_platform.config.load import Project
from exp_platform.errors import ExpError
from exp_platform.lake.catalog import PROPERTIES, commit_again, load_catalog
from exp_platform.lake.catalog_properties import location_of
from exp_platform.lake.raw_zone import filesystem

Verdict = Literal["ok", "WRONG", "note"]
SCHEMA = pa.schema([pa.field("key", pa.string()), pa.field("n", pa.int64())])
WRITERS, COMMITS = 4, 3
SKEW_NOTED, SKEW_WRONG = 5.0, 60.0  # seconds


@dataclass(frozen=True)
class Finding:
    """The outcome of one proof; a note is not a fault."""

    name: str
    verdict: Verdict
    sentence: str
    seconds: float


@dataclass(frozen=True)
class Bench:
    """The place of the proofs: the project, its catalog, a scratch table, and a way to get a second catalog."""

    project: Project
    catalog: Catalog
    name: str
    another: Callable[[], Catalog]

    def table(self) -> IcebergTable:
        """The scratch table as it is now, loaded by a catalog that knows nothing of earlier handles."""
        return self.another().load_table(self.name)

    def rows(self, snapshot_id: int | None = None) -> list[dict[str, object]]:
        """The rows as everybody sees them, or those of a snapshot."""
        found = self.table().scan(snapshot_id=snapshot_id).to_arrow().to_pylist()
        return sorted(found, key=lambda row: (row["key"], row["n"]))


def certify(project: Project, open_catalog: Callable[[Project], Catalog] = load_catalog) -> Iterator[Finding]:
    """Run every proof on a scratch table; the proofs after a failed one run all the same."""
    proofs: dict[str, Callable[[Bench], tuple[Verdict, str]]] = {
        "tag kept": tag_kept,
        "stale overwrite": stale_overwrite_refused,
        "concurrent": concurrent_commits_kept,
        "unknown state": unknown_state_retried,
        "views": views,
        "clock": clock,
    }
    with scratch(project, open_catalog) as bench, _quiet():
        for name, proof in proofs.items():
            began = time.monotonic()
            try:
                verdict, sentence = proof(bench)
            except Exception as error:  # a certificate reports whatever a proof runs into
                said = (str(error).strip().splitlines() or [""])[0]
                verdict, sentence = "WRONG", f"{type(error).__name__}: {said}"
            yield Finding(name, verdict, sentence, time.monotonic() - began)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the lines in which PyIceberg tells of conflicts, which are made here on purpose."""
    log = logging.getLogger("pyiceberg")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Delete operation did not match")
            yield
    finally:
        log.setLevel(level)


@contextmanager
def scratch(project: Project, open_catalog: Callable[[Project], Catalog]) -> Iterator[Bench]:
    """A scratch table in the namespace `ops`, dropped with its files at the end."""
    catalog = open_catalog(project)
    table = f"exp_doctor_{uuid.uuid4().hex[:12]}"
    name = f"ops.{table}"
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace("ops")
    made = catalog.create_table(name, SCHEMA, location=location_of(project, name), properties=PROPERTIES)
    try:
        yield Bench(project, catalog, name, lambda: open_catalog(project))
    finally:
        if project.profile.catalog.type == "rest":
            catalog.purge_table(name)  # the server deletes the files
        else:
            catalog.drop_table(name)
            _delete_folder(project, made.location())


def _delete_folder(project: Project, location: str) -> None:
    files, path = filesystem(project, location.removeprefix("file://"))
    if files.get_file_info(path).type == fs.FileType.Directory:
        files.delete_dir(path)


def tag_kept(bench: Bench) -> tuple[Verdict, str]:
    """A tag is there for the next reader, and its snapshot can be read after all others have expired."""
    table = bench.table()
    table.append(_rows("pinned", 1))
    pinned = _snapshot(table)
    table.append(_rows("between", 1))
    between = _snapshot(table)
    table.overwrite(_rows("now", 1))
    commit_again(table, lambda t: t.manage_snapshots().create_tag(pinned, "pin").commit())
    if (ref := bench.table().metadata.refs.get("pin")) is None or ref.snapshot_id != pinned:
        return "WRONG", "the catalog accepts a tag and does not keep it: no run could be computed again after expiry"
    commit_again(table, lambda t: t.maintenance.expire_snapshots().by_ids([between]).commit())
    if bench.table().snapshot_by_id(between) is not None:
        return "WRONG", "a snapshot that was expired is still there: maintenance can't make room"
    if bench.rows(pinned) != [{"key": "pinned", "n": 1}]:
        return "WRONG", "the rows of a pinned snapshot are others after expiry"
    return "ok", "kept, read back, and its rows are there after the others expired"


def stale_overwrite_refused(bench: Bench) -> tuple[Verdict, str]:
    """Who overwrites rows of a table that has changed since is refused, and loses nothing of the other's."""
    first, second = bench.table(), bench.table()
    first.overwrite(_rows("claim", 1), overwrite_filter=EqualTo("key", "claim"))
    try:
        second.overwrite(_rows("claim", 2), overwrite_filter=EqualTo("key", "claim"))
    except (CommitFailedException, ValidationException):
        kept = [row["n"] for row in bench.rows() if row["key"] == "claim"]
        return ("ok", "refused, and the first writer's rows stand") if kept == [1] else ("WRONG", f"rows are {kept}")
    return "WRONG", "the catalog lets a writer overwrite rows that it has not seen: two runs could publish at once"


def concurrent_commits_kept(bench: Bench) -> tuple[Verdict, str]:
    """Several writers append at once, each trying again when it comes second; every row is there once."""

    def write(writer: int) -> None:
        for i in range(COMMITS):
            commit_again(bench.table(), lambda t, n=i: t.append(_rows(f"writer_{writer}", n)))  # type: ignore[misc]

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    found = [(row["key"], row["n"]) for row in bench.rows() if str(row["key"]).startswith("writer_")]
    wanted = [(f"writer_{writer}", i) for writer in range(WRITERS) for i in range(COMMITS)]
    if found == wanted:
        return "ok", f"{len(wanted)} commits by {WRITERS} writers at once, all kept, none twice"
    lost, twice = len(set(wanted) - set(found)), len(found) - len(set(found))
    return "WRONG", f"{lost} of {len(wanted)} commits are lost and {twice} are there twice"


def unknown_state_retried(bench: Bench) -> tuple[Verdict, str]:
    """After a commit whose answer was lost, the snapshot's properties tell that it has landed: nothing is repeated."""
    mark = uuid.uuid4().hex

    def landed() -> bool:
        summaries = [snapshot.summary for snapshot in bench.table().metadata.snapshots]
        return any(one is not None and one.additional_properties.get("publish_id") == mark for one in summaries)

    for attempt in range(2):
        if not landed():
            table = bench.table()
            if attempt == 0:
                _lose_answers(table.catalog)
            with suppress(CommitStateUnknownException):
                table.append(_rows("unknown", 1), snapshot_properties={"publish_id": mark})
    count = sum(row["key"] == "unknown" for row in bench.rows())
    if count == 1:
        return "ok", "a commit is recognised by its snapshot's properties, and a retry repeats nothing"
    return "WRONG", f"the catalog drops the properties of snapshots: a retry would write {count} times"


def views(bench: Bench) -> tuple[Verdict, str]:
    """Views are for people alone; without them nothing but a convenience is missing."""
    if bench.project.profile.catalog.type != "rest":
        return "note", "none can be made from Python; Spark makes silver.fact_assignment, and no code needs it"
    name = f"{bench.name}_view"
    sql = SQLViewRepresentation(type="sql", sql="SELECT 1 AS n", dialect="spark")
    version = ViewVersion(schema_id=0, representations=[ViewRepresentation(sql)], default_namespace=("ops",))
    try:
        bench.catalog.create_view(name, pa.schema([pa.field("n", pa.int32())]), version)
        bench.catalog.drop_view(name)
    except Exception as error:
        said = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
        return "note", f"none can be made ({said}): silver.fact_assignment is missing, and no code needs it"
    return "ok", "a view was made and dropped"


def clock(bench: Bench) -> tuple[Verdict, str]:
    """The store's clock against this machine's: claims, tags and the age of orphan files are compared across both."""
    table, before = bench.table(), datetime.now(UTC)
    table.append(_rows("clock", 1))
    after = datetime.now(UTC)
    newest = max(table.scan(row_filter=EqualTo("key", "clock")).plan_files(), key=lambda task: task.file.file_path)
    files, path = filesystem(bench.project, newest.file.file_path.removeprefix("file://"))
    written = files.get_file_info(path).mtime
    if written is None:
        return "note", "the store tells no time of writing: the age of orphan files can't be known"
    ahead = max((written - after).total_seconds(), 0.0) - max((before - written).total_seconds() - 1, 0.0)
    said = f"the store's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > SKEW_WRONG:
        return "WRONG", f"{said}: set both by NTP, or claims and the ages of files are wrong"
    if abs(ahead) > SKEW_NOTED:
        return "note", f"{said}: set both by NTP"
    return "ok", "the store's clock and this machine's agree"


def _lose_answers(catalog: Catalog) -> None:
    """Let each commit of a catalog land and end with the error of a connection that broke before the answer came."""
    commit = catalog.commit_table

    def commit_and_lose(*words: Any, **named: Any) -> Any:
        commit(*words, **named)
        raise CommitStateUnknownException("the answer to a commit was lost, on purpose")

    catalog.commit_table = commit_and_lose


def _rows(key: str, n: int) -> pa.Table:
    return pa.table({"key": [key], "n": [n]}, schema=SCHEMA)


def _snapshot(table: IcebergTable) -> int:
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise ExpError("a commit has left no snapshot")
    return int(snapshot.snapshot_id)
