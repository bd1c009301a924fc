"""A stage from its start to its end, however it ends: what it may see (`view`) and how it publishes (`publishing`)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project
from exp_platform.errors import ContractViolation, FencedConflict, Superseded
from exp_platform.lake.audit import Audit
from exp_platform.lake.catalog import ensure_tables, load_catalog
from exp_platform.lake.publish import MAIN
from exp_platform.ledger import claim, manifest
from exp_platform.pipelines.publishing import PublishingStage
from exp_platform.pipelines.stages import BY_NAME
from exp_platform.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STATUS_OF_ERROR = ((ContractViolation, "blocked"), (Superseded, "superseded"), (FencedConflict, "conflict"))


@dataclass
class StageContext(PublishingStage):
    """One stage of one run of one experiment, opened and closed."""

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
