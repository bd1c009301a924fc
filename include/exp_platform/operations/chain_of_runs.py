"""The change of a result between two runs, split by a chain of runs in which one thing changes at a time.

The chain goes from the first run to the last: today's code, settings, definitions, late events, re-stated events, new
days, and back to the code of the last run. Each link is computed in a scratch lake from pinned events, unless it is one
of the two runs or nothing differs; docs/decisions/0028 says why this order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.changes import untouched
from exp_platform.lake.publication import fence_of
from exp_platform.lake.rows import read_arrow
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, DECISION, GUARDRAIL_STATUS
from exp_platform.ledger.configurations import Content, content_of, definitions_differ, settings_differ
from exp_platform.ledger.pins import PINNED_TABLES
from exp_platform.operations.landed import Kind, Landed, Landing, landing
from exp_platform.operations.moved_inputs import metrics_of, published_rows, two_runs
from exp_platform.operations.past_run import PastRun, project_of, reading_as
from exp_platform.operations.scratch import Log, compute, pinned_events, scratch_lake, session_on
from exp_platform.pipelines.dates import cutoff
from exp_platform.pipelines.run import Run
from exp_platform.results.moved import PARTS, Chain, Numbers, Part
from exp_platform.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from exp_platform.config.models import Metric

Scales = Mapping[str, Literal["absolute", "relative"]]
ANSWERS = (ANALYSIS_RESULTS, DECISION, GUARDRAIL_STATUS)
MOST_NAMED = 8  # phrases of one part


@dataclass(frozen=True)
class Differs:
    """One part: True where its inputs differ, and phrases that say how."""

    part: Part
    differs: bool
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Moved:
    """Two runs, what differs between their inputs, and the deciding numbers along the chain from one to the other."""

    first: PastRun
    last: PastRun
    parts: tuple[Differs, ...]
    chain: Chain
    computed: int  # links that were computed in a scratch lake
    project: Project = field(repr=False)  # configured as the last run was
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Link:
    """The inputs of one run of the chain; two links with the same `key` give the same numbers."""

    settings: bool  # True: those of the last run
    definition: bool
    late: bool
    restated: bool
    days: bool

    @property
    def key(self) -> tuple[bool, ...]:
        return (self.settings, self.definition, self.late, self.restated, self.days)


def moved(
    project: Project, first_id: str, last_id: str, spark: SparkSession | None = None, log: Log = lambda _: None
) -> Moved:
    """Split the change of the deciding numbers from one run to another; the real lake is only read."""
    first, last = two_runs(project, first_id, last_id)
    with tempfile.TemporaryDirectory(prefix="exp_configuration_") as folder:
        then = project_of(project, first, Path(folder) / "first")
        now = project_of(project, last, Path(folder) / "last")
        notes = tuple(
            f"no run has kept the configuration of {run.run_id}: its settings and definitions are part of the code"
            for run, found in ((first, then), (last, now))
            if found is None
        )
        after = now or project
        both = _Comparison(project, first, last, then or after, after, (then is not None, now is not None), spark, log)
        chain = Chain(both.published(first), tuple(both.steps()))
        return Moved(first, last, both.parts(), chain, len(both.computed), after, notes)


@dataclass
class _Comparison:
    """The two runs with their configurations, and the links that were computed so far."""

    project: Project
    first: PastRun
    last: PastRun
    then: Project
    now: Project
    known: tuple[bool, bool]  # the configuration of each run is its own
    spark: SparkSession | None
    log: Log
    computed: dict[tuple[bool, ...], Numbers] = field(default_factory=dict)

    def steps(self) -> list[tuple[Part, Numbers]]:
        """The numbers after each part; the code comes first, and once more at the end."""
        links = {part: self._link(PARTS.index(part)) for part in PARTS}
        found = [(part, self._numbers(link)) for part, link in links.items()]
        return [*found, ("code", self.published(self.last))]

    def parts(self) -> tuple[Differs, ...]:
        """Each part, with what differs in it."""
        codes = dict.fromkeys((self.first.code_version, self.last.code_version, code_version()))
        changed = {"settings": self._settings, "definition": self._definitions, "code": self._codes(tuple(codes))}
        days = (self.last.dt - self.first.dt).days
        words = {part: tuple(text) for part, text in changed.items()}
        for kind in ("late", "restated"):
            words[kind] = tuple(one.text for one in self._found if one.kind == kind)
        words["days"] = (f"{days} {'day' if days == 1 else 'days'} more",) if days else ()
        return tuple(Differs(part, bool(words[part]), _some(words[part])) for part in PARTS)

    def published(self, run: PastRun) -> Numbers:
        """The numbers that a run has published."""
        results, decisions, guardrails = (published_rows(self.project, run, table) for table in ANSWERS)
        return Numbers.of(results, decisions, guardrails, self._scales)

    def _link(self, position: int) -> _Link:
        """The link after the first so many parts behind the code; where a part does not differ, the last run has it."""
        done = [position >= PARTS.index(part) for part in PARTS]
        same = {
            "settings": not self._settings,
            "definition": not self._definitions,
            "late": not self._differs("late"),
            "restated": not self._differs("restated"),
            "days": self.first.dt == self.last.dt,
        }
        return _Link(**{part: done[PARTS.index(part)] or is_same for part, is_same in same.items()})

    def _numbers(self, link: _Link) -> Numbers:
        today = code_version()
        ends = ((self.first, self._link(0), self.known[0]), (self.last, self._link(len(PARTS)), self.known[1]))
        for run, end, is_known in ends:
            if link.key == end.key and run.code_version == today and is_known:
                return self.published(run)
        if link.key not in self.computed:
            self.computed[link.key] = self._compute(link)
        return self.computed[link.key]

    def _compute(self, link: _Link) -> Numbers:
        """The numbers of a link, from a scratch lake."""
        past = self.last if link.days and self.first.dt != self.last.dt else self.first
        configured = reading_as(self._configured(link), past)
        self.log(
            f"computing as of {past.dt}: " + ", ".join(f"{k} {'new' if v else 'old'}" for k, v in vars(link).items())
        )
        with scratch_lake(configured, past.run_id) as scratch:
            here = session_on(self._session, scratch)
            run = Run(scratch, past.experiment_id, past.dt, past.run_id, started_by="exp compare")
            compute(run, past, self.project, here, self._events(link), lambda _: None)
            key = {"experiment_id": past.experiment_id, "dt": past.dt}
            results, decisions, guardrails = (_rows_there(scratch, table, key) for table in ANSWERS)
            return Numbers.of(results, decisions, guardrails, self._scales)

    def _configured(self, link: _Link) -> Project:
        if not link.settings:
            return self.then
        if link.definition:
            return self.now
        return replace(self.now, metrics=self.now.metrics | metrics_of(self.then, self.first.experiment_id))

    def _events(self, link: _Link) -> dict[str, DataFrame]:
        """The events of a link by table."""
        then, now = self._pinned
        if link.late and link.restated:
            return now
        if not link.late:
            return then
        return {
            table: frame.unionByName(self._landings[table].late) if table in self._landings else frame
            for table, frame in then.items()
        }

    @cached_property
    def _scales(self) -> Scales:
        metrics: dict[str, Metric] = {}
        for project in (self.then, self.now):
            metrics |= {m.name: m for m in project.metrics_of(project.experiment(self.first.experiment_id))}
        return {name: metric.decision_scale for name, metric in metrics.items()}

    @cached_property
    def _session(self) -> SparkSession:
        if self.spark is None:
            from exp_platform.spark.session import build_spark_session

            self.spark = build_spark_session(f"compare {self.first.run_id} {self.last.run_id}", self.project)
        return self.spark

    @cached_property
    def _there(self) -> SparkSession:
        return session_on(self._session, self.project)

    def _differs(self, kind: Kind) -> bool:
        return any(one.kind == kind for one in self._found)

    @property
    def _found(self) -> tuple[Landed, ...]:
        return tuple(one for landing in self._landings.values() for one in landing.found)

    @cached_property
    def _landings(self) -> dict[str, Landing]:
        """The tables whose rows differ; read with Spark only where the history says that there are any."""
        touched = [table for table in PINNED_TABLES if self._touched(table)]
        if not touched:
            return {}
        then, now = self._pinned
        seen_until, found = cutoff(self.first.dt), {}
        for table in touched:
            some = now[table] if table in now else then[table]
            none = some.limit(0)
            found[table] = landing(table, then.get(table, none), now.get(table, none), seen_until)
        return found

    def _touched(self, table: str) -> bool:
        before, after = self.first.pins.of(table), self.last.pins.of(table)
        if before is None or after is None:
            return before is not after
        owners = (
            self.first.experiment_id,
            *(o for run in self._runs for v in run.stream_views.values() for o in v.owners),
        )
        return not untouched(load_handle(self.project, table), owners, before, after)

    @cached_property
    def _pinned(self) -> tuple[dict[str, DataFrame], dict[str, DataFrame]]:
        """The events of both runs."""
        first, last = (pinned_events(self._there, run, *self._runs) for run in (self.first, self.last))
        return first, last

    @cached_property
    def _runs(self) -> tuple[Run, Run]:
        first, last = self._run(self.then, self.first), self._run(self.now, self.last)
        if moved_over := set(first.stream_views) ^ set(last.stream_views):
            raise ConfigError(
                f"{', '.join(sorted(moved_over))}: one of the runs read a stream and the other its own files, so that "
                "their events can't be matched; compare two runs on the same side of the move"
            )
        return first, last

    def _run(self, project: Project, past: PastRun) -> Run:
        return Run(reading_as(project, past), past.experiment_id, past.dt, past.run_id)

    @cached_property
    def _settings(self) -> list[str]:
        return settings_differ(*self._contents)

    @cached_property
    def _definitions(self) -> list[str]:
        return definitions_differ(*self._contents)

    @cached_property
    def _contents(self) -> tuple[Content, Content]:
        then, now = (content_of(p, p.experiment(self.first.experiment_id)) for p in (self.then, self.now))
        return then, now

    def _codes(self, codes: tuple[str, ...]) -> list[str]:
        if not all(self.known) and len(codes) == 1:
            return ["a configuration that no run has kept"]
        if len(codes) == 1:
            return []
        return [f"{self.first.code_version} then, {self.last.code_version} at the last run, {code_version()} today"]


def _rows_there(project: Project, table: str, key: dict[str, Any]) -> list[dict[str, Any]]:
    handle = load_handle(project, table)
    return list(read_arrow(handle, TABLES[table], fence_of(handle, "main"), key).to_pylist())


def _some(phrases: tuple[str, ...]) -> tuple[str, ...]:
    rest = len(phrases) - MOST_NAMED
    return phrases if rest <= 0 else (*phrases[:MOST_NAMED], f"and {rest} more")
