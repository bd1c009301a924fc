"""Run one experiment through the real stages in a temporary lake, and compare it with its healthy data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from exp_platform.config.load import Project
from exp_platform.decision.trust import SRM_GATES
from exp_platform.detection.cases import Case, Outcome
from exp_platform.detection.many_experiments import last_day
from exp_platform.errors import ContractViolation
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import RUN_COLUMNS, TABLES
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    ASSIGNMENTS,
    ATTRIBUTES,
    EXPOSURE_QUALITY_DAILY,
    EXPOSURES,
    OUTCOMES,
    STATISTICAL_VALIDATION,
)
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.status import CheckStatus
from exp_platform.synth.generate import generate
from exp_platform.synth.generation import SynthPlan
from exp_platform.synth.planted_faults import resolve_faults

INGEST = ("sync_registry", "ingest_events")
TO_CHECKS = (
    *("build_assignments", "validate_exposures", "build_unit_outcomes", "aggregate_metrics"),
    *("analyze_results", "validate_statistics"),
)
EVENTS = (ASSIGNMENTS, EXPOSURES, OUTCOMES, ATTRIBUTES)


def scratch_project(project: Project, folder: Path) -> Project:
    """The project with a SQLite catalog, a warehouse and a raw zone in `folder`."""
    profile = project.profile.model_copy(update={"synthetic": True, "raw_root": "raw"})
    catalog = profile.catalog.model_copy(update={"type": "sqlite", "uri": "catalog.db", "warehouse": "warehouse"})
    return replace(project, root=folder, profile=profile.model_copy(update={"catalog": catalog, "object_store": None}))


@dataclass(frozen=True)
class Seen:
    """The outcome of one run: the block, the checks that fired, and the rows of the tables."""

    blocked: str  # the error text of a broken contract; empty when ingest passed
    fired: frozenset[str]
    events: dict[str, pa.Table]
    answers: pa.Table


@dataclass
class Bench:
    """A lake in which one experiment's data are generated again and again, each time with another fault."""

    project: Project
    spark: SparkSession
    plan: SynthPlan
    log: Callable[[str], None] = print
    runs: int = 0

    def run_cases(self, wanted: Iterable[Case], seeds: Sequence[int]) -> list[Outcome]:
        """Run every case on every seed, and compare it with the healthy data of the seed.

        A case for ingest stops after ingest, because equal events give equal answers.
        """
        wanted = tuple(wanted)
        fired: dict[str, Counter[str]] = {case.key: Counter() for case in wanted}
        said: dict[str, str] = {}
        to_checks = any(case.path == "results" for case in wanted)
        for seed in seeds:
            before = healthy = self.observe(replace(self.plan, seed=seed), to_checks)
            self.log(f"seed {seed}: healthy: {', '.join(sorted(healthy.fired)) or 'nothing fired'}")
            for case in wanted:
                (fault,) = resolve_faults([case.fault], self.plan)
                seen = self.observe(replace(self.plan, seed=seed, faults=(fault,)), case.path == "results")
                fired[case.key].update(judge(case, seen, before, healthy))
                said[case.key] = seen.blocked
                before = seen
                self.log(f"seed {seed}: {case.key}: {', '.join(sorted(fired[case.key])) or 'nothing fired'}")
        return [Outcome(case, len(seeds), fired[case.key], said[case.key]) for case in wanted]

    def observe(self, plan: SynthPlan, to_checks: bool) -> Seen:
        """Generate the plan's data, run the stages up to ingest or up to the checks, and read the tables."""
        blocked = ""
        generate(self.project, replace(plan, metrics=()), lambda: self.spark)
        try:
            self._run(INGEST + TO_CHECKS if to_checks else INGEST)
        except ContractViolation as error:
            blocked = str(error).splitlines()[0]
        judged = to_checks and not blocked
        return Seen(
            blocked,
            fired_checks(self._table(EXPOSURE_QUALITY_DAILY), self._table(STATISTICAL_VALIDATION))
            if judged
            else frozenset(),
            {name: self._table(name) for name in EVENTS},
            self._table(ANALYSIS_RESULTS),
        )

    def _run(self, stages: Iterable[str]) -> None:
        self.runs += 1
        run_id = f"detect_{self.runs:03d}"
        run = Run(self.project, self.plan.experiment_id, last_day(self.plan), run_id, started_by="detection matrix")
        for name in stages:
            run_stage(run, BY_NAME[name], session=Session.given(self.spark), say=lambda _: None)

    def _table(self, name: str) -> pa.Table:
        """The experiment's rows without the columns that describe the run, sorted."""
        from exp_platform.lake.catalog import load_handle

        handle = load_handle(self.project, name)
        snapshot = handle.current_snapshot()
        columns = [column for column in TABLES[name].columns if column not in RUN_COLUMNS | {"config_hash"}]
        key = {"experiment_id": self.plan.experiment_id}
        found = read_arrow(handle, TABLES[name], snapshot.snapshot_id, key, columns) if snapshot else None
        if found is None:
            return pa.table({})
        return found.sort_by([(column, "ascending") for column in TABLES[name].grain])


def fired_checks(quality: pa.Table, validation: pa.Table) -> frozenset[str]:
    """Names of the failed checks, and `outliers` when it warns; both SRM gates are named `srm`."""
    fired = {row["check_name"] for row in quality.to_pylist() if row["status"] == CheckStatus.FAIL.value}
    for row in validation.to_pylist():
        name, status = row["check_name"], row["status"]
        if status == CheckStatus.FAIL.value or (name == "outliers" and status == CheckStatus.WARN.value):
            fired.add("srm" if name in SRM_GATES else name)
    return frozenset(fired)


def judge(case: Case, seen: Seen, before: Seen, healthy: Seen) -> set[str]:
    """The names of the checks that the fault fired, and `changed` when tables differ that must not.

    A blocked run must leave the tables as they were; a harmless fault must give the answers of healthy data.
    """
    if seen.blocked:
        kept = seen.events == before.events and seen.answers == before.answers
        return {"contract"} if kept else {"contract", "changed"}
    unlike = seen.events != healthy.events if case.path == "ingest" else seen.answers != healthy.answers
    changed = case.expectation == "unchanged" and unlike
    return {*(seen.fired - healthy.fired), *(("changed",) if changed else ())}
