"""What a stage sees of the world: its experiment, its pinned inputs, and one way to publish."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.config.models import Experiment, Metric
from exp_platform.errors import ContractViolation, FencedConflict, Superseded
from exp_platform.lake import claim, manifest
from exp_platform.lake.arrow_files import Finish, finished
from exp_platform.lake.audit import (
    Audit,
    AuditRefused,
    Finding,
    Scope,
    audit_spark,
    audit_staged,
    conform_spark,
    refuse,
)
from exp_platform.lake.batches import Batches, FrameBatches, rows_of_files
from exp_platform.lake.catalog import ensure_tables, load_catalog, load_handle
from exp_platform.lake.contract_results import ContractResults
from exp_platform.lake.ops import read_rows, replace_rows
from exp_platform.lake.pins import pin_inputs
from exp_platform.lake.publish import MAIN, Origin, Published, fence_of, find_published, publish
from exp_platform.lake.read import count_rows, read_arrow, read_spark, require_snapshot
from exp_platform.lake.staging import (
    Mode,
    Part,
    Staged,
    StagedBatch,
    commit_staged,
    discard,
    is_null_refused,
    laid_out,
    stage,
    stage_large,
)
from exp_platform.lake.tables import TABLES
from exp_platform.lake.version import code_version
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.stages import BY_NAME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_STATUS_OF_ERROR = ((ContractViolation, "blocked"), (Superseded, "superseded"), (FencedConflict, "conflict"))


@dataclass
class StageContext:
    """One stage of one run of one experiment; open it with `StageContext.open`."""

    project: Project
    experiment: Experiment
    metrics: tuple[Metric, ...]
    dt: date
    run_id: str
    stage: str
    config_hash: str
    code_version: str
    now: datetime  # the one clock reading of the stage
    branch: str  # main, or the branch of a run with an older dt
    pins: manifest.Pins
    catalog: Catalog = field(repr=False)
    handles: dict[str, IcebergTable] = field(repr=False)  # every table as it was when the stage started: the fences
    outputs: tuple[str, ...]
    needs_spark: bool
    audit: Audit | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # what only some stages take: seed, fault, full_refresh
    say: Callable[[str], None] = field(default=lambda line: print(line, flush=True), repr=False)
    _session: SparkSession | None = None
    _published: dict[str, Published] = field(default_factory=dict)
    _fences: dict[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    @contextmanager
    def open(
        cls,
        project: Project,
        experiment_id: str,
        dt: date,
        run_id: str,
        stage: str,
        *,
        spark: SparkSession | None = None,
        audit: Audit | None = None,
        log: Callable[[str], None] | None = None,
        options: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> Iterator[StageContext]:
        """Check the claim, take the fences, look up the run's pins; on the way out write the manifest."""
        catalog = load_catalog(project)
        handles = ensure_tables(project, catalog)
        claim.check(project, experiment_id, run_id, catalog)
        experiment = project.experiment(experiment_id)
        registered = BY_NAME.get(stage)
        context = cls(
            project=project,
            experiment=experiment,
            metrics=project.metrics_of(experiment),
            dt=dt,
            run_id=run_id,
            stage=stage,
            config_hash=project.config_hash(experiment),
            code_version=code_version(),
            now=now or datetime.now(UTC),
            branch=branch_of_run(experiment_id, run_id)
            if manifest.has_later_dt(project, experiment_id, dt, catalog)
            else MAIN,
            pins=manifest.pins_of(manifest.run_rows(project, experiment_id, run_id, catalog)),
            catalog=catalog,
            handles=handles,
            outputs=registered.publishes if registered else (),
            needs_spark=registered.needs_spark if registered else True,
            audit=audit,
            options=options or {},
            _session=spark,
        )
        if log is not None:
            context.say = log
        started = time.monotonic()
        try:
            yield context
        except BaseException as error:
            context._record_failure(error)
            raise
        context.contract_results.flush()
        context.manifest.flush()
        context.log(f"done in {time.monotonic() - started:.1f} s")

    # --- what the stage may know -----------------------------------------------------------------------------------

    @property
    def experiment_id(self) -> str:
        """The experiment that this stage works for."""
        return self.experiment.experiment_id

    @property
    def cutoff(self) -> datetime:
        """Events with time < cutoff are seen: dt + 1 day, 00:00 UTC."""
        return cutoff(self.dt)

    @property
    def spark(self) -> SparkSession:
        """The session, built when first asked for."""
        if not self.needs_spark:
            raise RuntimeError(f"{self.stage} is declared as a stage without a session (pipelines/stages/__init__.py)")
        if self._session is None:
            from exp_platform.spark.session import build_spark_session

            self._session = build_spark_session(f"{self.stage} {self.experiment_id}", self.project)
        return self._session

    @cached_property
    def manifest(self) -> manifest.StageManifest:
        """What this stage has read and published."""
        return manifest.StageManifest(
            self.project,
            self.catalog,
            self.experiment_id,
            self.run_id,
            self.dt,
            self.stage,
            self.config_hash,
            self.code_version,
            self.now,
        )

    @cached_property
    def contract_results(self) -> ContractResults:
        """What the audits of this stage have found."""
        return ContractResults(
            self.project, self.catalog, self.experiment_id, self.run_id, self.dt, self.stage, self.now
        )

    @property
    def input_snapshots(self) -> str:
        """JSON of table -> snapshot id that this stage has read so far, for the column of that name."""
        return json.dumps(self.manifest.inputs(self.outputs), sort_keys=True)

    def log(self, line: str) -> None:
        """One readable line for the task log."""
        self.say(f"{self.stage}: {line}")

    # --- read ------------------------------------------------------------------------------------------------------

    def read(self, table: str, *, all_dts: bool = False) -> DataFrame:
        """This experiment's rows (of this dt, where the table has one) at the snapshot that this run pinned."""
        session, snapshot_id = self.spark, self._pin(table, all_dts)
        return read_spark(session, TABLES[table], snapshot_id, self._key(table, all_dts))

    def read_arrow(self, table: str, columns: Sequence[str] | None = None, *, all_dts: bool = False) -> pa.Table:
        """The same as an Arrow table, without a session."""
        snapshot_id = self._pin(table, all_dts)
        return read_arrow(self.handles[table], TABLES[table], snapshot_id, self._key(table, all_dts), columns)

    def read_batches(self, table: str, columns: Sequence[str]) -> Batches:
        """Some columns of the same rows, in Arrow batches where the work is done."""
        session, snapshot_id = self.spark, self._pin(table, all_dts=False)
        key = self._key(table, all_dts=False)
        files = rows_of_files(session, self.handles[table], TABLES[table], snapshot_id, key, columns)
        return files or FrameBatches(read_spark(session, TABLES[table], snapshot_id, key).select(*columns))

    def rows_read(self, table: str) -> int:
        """How many rows of this experiment `read` has found in a table."""
        return self.manifest.rows_read(table)

    def snapshot_of(self, table: str) -> int:
        """The snapshot at which this stage reads a table.

        A stage's own outputs are read as they were when it started, or as it has just published them: only then does
        what it writes fit its fence. Everything else is read where the run has pinned it.
        """
        if table in self._published:
            return self._published[table].snapshot_id
        pinned = None if table in self.outputs else self.pins.of(table)
        if pinned is None:
            return fence_of(self.handles[table], self._branch(table))
        require_snapshot(self.handles[table], TABLES[table], pinned, self.run_id)
        return pinned

    def _pin(self, table: str, all_dts: bool) -> int:
        snapshot_id = self.snapshot_of(table)
        rows = count_rows(self.handles[table], snapshot_id, self._key(table, all_dts))
        self.manifest.add(table, "read", snapshot_id, rows)
        self.log(f"read {rows:,} rows of {table} (snapshot {snapshot_id})")
        return snapshot_id

    def _key(self, table: str, all_dts: bool) -> dict[str, Any]:
        if all_dts:
            return {"experiment_id": self.experiment_id}
        return self._scope.keys(TABLES[table])

    # --- write -----------------------------------------------------------------------------------------------------

    def publish(
        self,
        table: str,
        frame: DataFrame | pa.Table | list[dict[str, Any]],
        *,
        inputs: Mapping[str, int | str] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Published:
        """Audit, then replace this experiment's rows in one fenced commit, and record it.

        `notes` stay with the snapshot, for a later run that builds on these rows.
        """
        started = time.monotonic()
        origin = self._origin(inputs or {})
        self.manifest.add(table, "published", None, status="failed", error="the stage ended while it wrote this table")
        try:
            done = publish(
                TABLES[table],
                frame,
                self._scope,
                origin,
                self.handles[table],
                audit=self.audit,
                branch=self._branch(table),
                again=bool(self.options.get("full_refresh")),
                notes=notes,
                before_commit=lambda: claim.check(self.project, self.experiment_id, self.run_id, self.catalog),
            )
        except AuditRefused as refused:
            self.report(table, refused.findings)
            raise
        if done.repeated:
            self._record_repeated(table, done)
            return done
        self.report(table, done.findings)
        self._record_published(table, done, time.monotonic() - started, "overwrite")
        return done

    def already_published(self, *tables: str) -> bool:
        """Whether all of them hold what would come out now, from what was read so far; then that is recorded.

        `publish` looks for itself; this spares a stage that works before it publishes.
        """
        if self.options.get("full_refresh"):
            return False
        origin = self._origin({})
        found = {
            table: find_published(self.handles[table], TABLES[table], self._scope, origin, self._branch(table))
            for table in tables
        }
        if any(done is None for done in found.values()):
            return False
        for table, done in found.items():
            assert done is not None
            self._record_repeated(table, done)
        return True

    def publish_large(
        self,
        table: str,
        frame: DataFrame,
        *,
        finish: Finish | None = None,
        part: Part | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Published:
        """`publish` for a result too large to be kept: written once, unseen, audited from its files, then moved.

        `finish` makes the table's rows from the frame's where they are written. With a part only its rows are replaced,
        and audited beside those that stay.
        """
        if self.already_published(table):
            return self._published[table]
        started, declared = time.monotonic(), TABLES[table]
        self.manifest.add(table, "published", None, status="failed", error="the stage ended while it wrote this table")
        rows, fence = laid_out(frame, declared), self._fence(table)
        with self._explained(table, finished(frame, declared, finish) if finish else frame):
            staged = stage_large(rows, declared, self._scope, self.handles[table], fence, finish=finish, part=part)
        try:
            self._audit_staged(staged, "overwrite", grain_is_proven=False)
            claim.check(self.project, self.experiment_id, self.run_id, self.catalog)
            properties = {"notes": json.dumps(notes or {})}
            return self._commit_staged(StagedBatch(staged, "overwrite", {}, properties), started)
        finally:
            discard(staged)

    def stage_rows(self, table: str, frame: DataFrame) -> Staged:
        """Write rows where nobody reads them; `publish_staged` makes them visible."""
        with self._explained(table, frame):
            return stage(frame, TABLES[table], self._scope, self.handles[table], self._fence(table))

    def publish_staged(self, batches: Sequence[StagedBatch]) -> None:
        """Audit all, then commit one after the other: a table that is refused keeps the others back too.

        The rows are distinct in their table's grain.
        """
        for batch in batches:
            self._audit_staged(batch.staged, batch.mode, grain_is_proven=True)
        claim.check(self.project, self.experiment_id, self.run_id, self.catalog)
        for batch in batches:
            self._commit_staged(batch, time.monotonic())
            discard(batch.staged)

    def _audit_staged(self, staged: Staged, mode: Mode, *, grain_is_proven: bool) -> None:
        frame, whole, table = staged.frame(), staged.beside_what_stays(), staged.table
        _, findings = audit_staged(
            frame, table, self._scope, staged.broken_inside, whole=None if grain_is_proven else whole
        )
        # An append that adds nothing is no table without rows.
        has_rows = staged.rows or mode == "overwrite"
        if self.audit and has_rows and not any(finding.blocks for finding in findings):
            findings += self.audit(whole, table)
        self.report(table.name, findings)
        refuse(table, findings)

    def _commit_staged(self, batch: StagedBatch, started: float) -> Published:
        table = batch.staged.table.name
        properties = self._origin(batch.inputs).summary() | dict(batch.properties)
        done = commit_staged(batch.staged, batch.mode, properties, self._branch(table))
        self._record_published(table, done, time.monotonic() - started, batch.mode)
        return done

    def _fence(self, table: str) -> int:
        """Taken once: what is written to a branch moves the handle on."""
        return self._fences.setdefault(table, fence_of(self.handles[table], self._branch(table)))

    @contextmanager
    def _explained(self, table: str, frame: DataFrame) -> Iterator[None]:
        """A writer stops at the first null in a required column; the audit says which rows have one."""
        try:
            yield
        except AuditRefused as refused:
            self.report(table, refused.findings)
            raise
        except Exception as error:
            if is_null_refused(error):
                _, findings = audit_spark(conform_spark(frame, TABLES[table]), TABLES[table], self._scope)
                self.report(table, findings)
                refuse(TABLES[table], findings)
            raise

    def replace(self, table: str, rows: list[dict[str, Any]], /, **key: Any) -> None:
        """Replace this experiment's rows of an ops table whose columns equal the key's values."""
        replace_rows(self.project, table, {"experiment_id": self.experiment_id, **key}, rows, self.catalog)

    def rows(self, table: str, /, **key: Any) -> list[dict[str, Any]]:
        """This experiment's rows of an ops table, as they are now."""
        return read_rows(load_handle(self.project, table, self.catalog), {"experiment_id": self.experiment_id, **key})

    def report(self, table: str, findings: Sequence[Finding]) -> None:
        """Keep findings for `ops.contract_results`; written when the stage ends, whichever way."""
        self.contract_results.add(table, findings)
        for finding in findings:
            if not finding.success:
                self.log(f"{finding.severity}: {table}: {finding.expectation} ({finding.unexpected_count} rows)")

    def pin_inputs(self) -> None:
        """Keep the event snapshots of this run reproducible: call it when the decision is published."""
        pins = {table: self.snapshot_of(table) for table in TABLES if table in self.pins.published | self.pins.read}
        days = None if self.experiment.status == "concluded" else self.project.profile.pins.retain_days
        kept = pin_inputs(self.project, self.experiment_id, self.run_id, pins, days, self.now, self.catalog)
        self.log(f"pinned {', '.join(kept) or 'nothing'} for {days or 'all'} days")

    # --- inside ----------------------------------------------------------------------------------------------------

    @property
    def _scope(self) -> Scope:
        return Scope(self.experiment_id, self.dt)

    def _branch(self, table: str) -> str:
        return self.branch if TABLES[table].shows_latest_dt else MAIN

    def _origin(self, inputs: Mapping[str, int | str]) -> Origin:
        """Who publishes, and from what."""
        read = self.manifest.inputs(self.outputs) | dict(inputs)
        return Origin(self.run_id, self.stage, self.dt, self.config_hash, self.code_version, read)

    def _record_repeated(self, table: str, done: Published) -> None:
        """The rows were audited when they were published; what was found then is there under that run."""
        if done.run_id != self.run_id:
            self.report(table, [Finding(f"audited when run {done.run_id} published it from the same inputs", True)])
        self._record_published(table, done, 0.0, "overwrite")

    def _record_published(self, table: str, done: Published, seconds: float, mode: Mode) -> None:
        self._published[table] = done
        self.manifest.add(table, "published", done.snapshot_id, done.rows, seconds)
        self._log_published(table, done, seconds, mode)

    def _log_published(self, table: str, done: Published, seconds: float, mode: Mode) -> None:
        whose = "" if done.run_id in ("", self.run_id) else f" by run {done.run_id} from the same inputs"
        word = f"found, already published{whose}:" if done.repeated else ("added" if mode == "append" else "wrote")
        where = "" if self._branch(table) == MAIN else f" on branch {self.branch} (a later dt is already published)"
        self.log(f"{word} {done.rows:,} rows of {table}{where} in {seconds:.1f} s (snapshot {done.snapshot_id})")

    def _record_failure(self, error: BaseException) -> None:
        """Leave the reason where people look for it; a fault while doing so must not hide the first one."""
        status = next((word for kind, word in _STATUS_OF_ERROR if isinstance(error, kind)), "failed")
        sentence = str(error).splitlines()[0][:2000] if str(error) else type(error).__name__
        unfinished = [
            t for (t, role), row in self.manifest._rows.items() if role == "published" and row["status"] != "ok"
        ]
        self.manifest.add(
            unfinished[-1] if unfinished else manifest.ALL_TABLES, "published", None, status=status, error=sentence
        )
        try:
            self.contract_results.flush()
            self.manifest.flush()
        except Exception as second:
            self.log(f"the manifest could not be written either: {second}")


def branch_of_run(experiment_id: str, run_id: str) -> str:
    """Branch of a backfill: its tables without dt must not replace the experiment's latest."""
    return f"backfill_{hashlib.sha256(f'{experiment_id}/{run_id}'.encode()).hexdigest()[:12]}"
