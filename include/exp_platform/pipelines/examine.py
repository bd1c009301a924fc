"""Ingest of one dataset of an experiment or stream, to the point where its valid events are written and not visible."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F

from exp_platform.ingest import engine_errors as faults
from exp_platform.ingest import repeats
from exp_platform.ingest.dataset import read_sources
from exp_platform.ingest.dataset_sources import EVENT_ID, DatasetSource, DatasetSources, list_source
from exp_platform.ingest.diagnose import failing_expression
from exp_platform.ingest.events import already_held, distinct_events, not_held, on_days, path_of, with_run_columns
from exp_platform.ingest.increment import IngestedFile, ReadPlan, decode_files, known_files, plan
from exp_platform.ingest.intake import Intake
from exp_platform.ingest.problems import Problem
from exp_platform.ingest.quarantine import entries, refused_rows
from exp_platform.ingest.raw_files import RawFile
from exp_platform.ingest.repeats import Repeats
from exp_platform.ingest.result import FILE, ReadResult
from exp_platform.ingest.row_rules import RULES_VERSION, breaks_any, row_rules
from exp_platform.ingest.verdict import Tally
from exp_platform.lake.publication import last_publication
from exp_platform.lake.rows import count_rows
from exp_platform.lake.staging import discard
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import INGESTED_FILES
from exp_platform.schemas import event_time_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    from exp_platform.pipelines.context import StageContext
    from exp_platform.pipelines.publisher import Pending

FILES_PROPERTY = "raw_files"
_BAD = "_bad"
_BYTES_PER_ROW = 40


@dataclass
class Examined:
    """The result of examining one dataset; `pending` is None when there is nothing to publish."""

    intake: Intake
    plan: ReadPlan
    known: dict[str, IngestedFile]
    problems: list[Problem] = field(default_factory=list)
    extra_columns: dict[str, list[str]] = field(default_factory=dict)
    read_files: list[IngestedFile] = field(default_factory=list)
    refused: DataFrame | None = None  # entries for ops.quarantine, cached
    pending: Pending | None = None
    cached: list[DataFrame] = field(default_factory=list)
    tally: Tally = field(default_factory=lambda: Tally(0, 0, 0, 0))
    late: int = 0  # added events that are older than late_arrival_days
    paths: list[tuple[DatasetSource, set[str]]] = field(default_factory=list)  # the present files of each source
    repeats: dict[str, Repeats] = field(default_factory=dict)  # outcome source -> its rows that repeat another
    must_record: bool = False  # ops.ingested_files disagrees with the table and must be rewritten

    @property
    def source(self) -> DatasetSources:
        """Where the dataset's events come from."""
        return self.intake.source

    @property
    def table(self) -> str:
        """The table that the dataset's events go to."""
        return self.intake.table

    @property
    def files(self) -> list[IngestedFile]:
        """Every file whose events the table holds once this run has published."""
        kept = [self.known[path] for path in self.plan.unchanged]
        return sorted((*kept, *self.read_files), key=lambda file: file.path)

    def keep(self, frame: DataFrame) -> DataFrame:
        """Cache a frame until the stage is done with the dataset."""
        self.cached.append(frame.persist())
        return self.cached[-1]

    def release(self) -> None:
        """Drop staged rows that were not published, and free the cached frames."""
        if self.pending is not None:
            discard(self.pending.staged)
        while self.cached:
            self.cached.pop().unpersist()


def examine(ctx: StageContext, intake: Intake, quarantined: DataFrame | None) -> Examined:
    """Find the dataset's new files, split their rows into valid and refused ones, and stage the valid ones.

    `quarantined` holds the owner's entries in ops.quarantine; None when there are none.
    """
    run, source, dataset = ctx.run, intake.source, intake.dataset
    contract = contract_hash(intake)
    recorded, known = files_known(ctx, intake)
    try:
        listed = [(part, list_source(run.project, part, ctx.session)) for part in source.parts]
    except PermissionError as error:
        refused = Problem(dataset, "files can be read", source.location, f"may not be listed ({error})")
        return Examined(intake, ReadPlan("unchanged", ()), known, [refused])
    distinct = {file.path: file for _, files in listed for file in files}  # two sources may read one file
    in_order = (distinct[path] for path in sorted(distinct))
    present = [replace(file, fingerprint=f"{file.fingerprint}.{contract}") for file in in_order]
    examined = Examined(intake, ReadPlan("unchanged", ()), known, must_record=recorded != known)
    examined.repeats = repeats_before(ctx, intake)
    examined.paths = [(part, {file.path for file in files}) for part, files in listed]
    examined.plan = plan(present, known, _reason_for_whole(ctx, examined, contract))
    try:
        if examined.plan.mode != "unchanged" and not _read(ctx, examined):
            reason = "a new file with a smaller path holds events of a file that was read before"
            examined.plan = plan(present, known, reason)
            _read(ctx, examined)
        if not examined.problems:
            examined.tally = _tally(ctx, examined, quarantined)
    except Exception as error:
        problem = faults.problem_of(error, dataset, source.location)
        if faults.may_be_of_a_value(error):
            problem = failing_expression(ctx.spark, run.project, examined.paths, examined.plan.read) or problem
        if problem is None:
            examined.release()
            raise
        examined.problems.append(problem)
    return examined


def contract_hash(intake: Intake) -> str:
    """Hash of the rules, schema, live arms and mapping: it changes when the same files may give other events."""
    properties, types = intake.schema["properties"], intake.source.types
    schema = dict(intake.schema) | {"properties": {name: spec for name, spec in properties.items() if name in types}}
    content = [RULES_VERSION, schema, sorted(intake.variants or ()), *intake.source.rules]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def files_known(ctx: StageContext, intake: Intake) -> tuple[dict[str, IngestedFile], dict[str, IngestedFile]]:
    """The files by path, twice: as ops.ingested_files records them, and as the table's last snapshot holds them."""
    names = ("path", "size", "fingerprint", "rows", "refused")
    rows = ctx.read.rows(INGESTED_FILES, dataset=intake.dataset)
    recorded = {row["path"]: IngestedFile(**{name: row[name] for name in names}) for row in rows}
    table = TABLES[intake.table]
    last = last_publication(ctx.read.handle(table.name), table, ctx.run.scope)
    properties = last.summary.additional_properties if last is not None and last.summary else {}
    if FILES_PROPERTY not in properties:
        return recorded, recorded
    return recorded, known_files(recorded.values(), decode_files(properties[FILES_PROPERTY]), properties.get("mode"))


def repeats_before(ctx: StageContext, intake: Intake) -> dict[str, Repeats]:
    """The repeats that the dataset's last publication has counted."""
    table = TABLES[intake.table]
    last = last_publication(ctx.read.handle(table.name), table, ctx.run.scope)
    properties = last.summary.additional_properties if last is not None and last.summary else {}
    return repeats.decode(properties.get(repeats.PROPERTY))


def _reason_for_whole(ctx: StageContext, examined: Examined, contract: str) -> str:
    known = examined.known.values()
    if ctx.run.options.full_refresh:
        return "--full-refresh was given"
    if any(not file.fingerprint.endswith(contract) for file in known):
        return f"the contract, {'the variants ' if examined.intake.variants else ''}or the mapping changed"
    if any(file.rows > file.refused for file in known) and _existing_count(ctx, examined) == 0:
        return "the table does not hold the events of the files that were read"
    return ""


def _existing_count(ctx: StageContext, examined: Examined) -> int:
    """Number of the owner's events in the table, from the row counts of its data files."""
    key = TABLES[examined.table].key_of(ctx.run.experiment_id)
    return count_rows(ctx.read.handle(examined.table), ctx.read.snapshot_of(examined.table), key)


def _read(ctx: StageContext, examined: Examined) -> bool:
    """Read the planned files and stage their events; False when they can't be appended to the table's events."""
    source, files = examined.source, examined.plan.read
    result = read_sources(ctx.spark, ctx.run.project, examined.paths, files)
    examined.extra_columns = result.extra_columns
    examined.problems += result.problems
    if result.frame is None:
        return True
    intake = examined.intake
    rules = row_rules(intake.schema, intake.experiment_id, intake.variants, result.frame.columns)
    seen = Observation()
    judged = result.frame.withColumn(_BAD, breaks_any(rules)).observe(seen, F.count_if(_BAD).alias("refused"))
    paths = [file.path for file in files]
    about = sum(result.rows.values()) or sum(file.size for file in files) // _BYTES_PER_ROW
    events = distinct_events(judged.where(~F.col(_BAD)), list(source.types), about)
    late = None
    counted = _counted_sources(ctx, intake)
    copies = Observation()
    if examined.plan.mode == "append":
        added = _minus_held(ctx, examined, examined.keep(events), paths)
        if added is None:
            return False
        late = Observation()
        events = added.observe(late, F.count_if(_is_late(ctx, intake)).alias("late"))
    elif counted:
        events = events.observe(copies, *repeats.observed(counted))
    sort = TABLES[intake.table].sort
    rows = with_run_columns(events, intake.columns, paths, ctx.now, constants=intake.constants, sort=sort)
    examined.pending = ctx.publish.write_unseen(examined.table, rows)
    examined.late = late.get["late"] if late is not None else 0
    if counted and late is None:
        examined.repeats = repeats.from_observed(counted, copies.get)
    if seen.get["refused"]:
        refused = refused_rows(result.frame, rules, source.types, paths)
        found = entries(refused, ctx.run.experiment_id, source.dataset, ctx.run.run_id, ctx.now)
        examined.refused = examined.keep(found)
    examined.read_files = _files_read(files, _rows_per_file(result, source.parts, paths), _refused_per_file(examined))
    return True


def _counted_sources(ctx: StageContext, intake: Intake) -> list[str]:
    """The outcome sources whose repeated rows are counted; none where events have ids, and so are told apart."""
    if intake.dataset != "outcomes" or EVENT_ID in intake.source.types:
        return []
    return sorted({*intake.delivers, *(name for metric in ctx.run.metrics for name in metric.sources)})


def _minus_held(ctx: StageContext, examined: Examined, events: DataFrame, paths: list[str]) -> DataFrame | None:
    """The events that the table does not hold yet.

    An event keeps the smallest path among the files that hold it. None when a new file has a smaller path than a
    stored event: then the whole dataset must be written again.
    """
    columns = list(examined.source.types)
    time = event_time_column(examined.source.dataset)
    days = [row["day"] for row in events.select(F.to_date(time).alias("day")).distinct().collect()]
    existing = ctx.read.frame(examined.table).where(on_days(F.col(time), days))
    held = examined.keep(already_held(events, existing, columns))
    if examined.repeats:
        examined.repeats = repeats.after(examined.repeats, repeats.among_new(events, held))
    smaller = path_of(paths) < F.col("held_by")
    found = held.agg(F.count(F.lit(1)).alias("rows"), F.count_if(smaller).alias("smaller")).first()
    assert found is not None
    if found["smaller"]:
        return None
    return not_held(events, held, columns) if found["rows"] else events


def _is_late(ctx: StageContext, intake: Intake) -> Column:
    """True for an event that is older than late_arrival_days at the end of dt."""
    limit = ctx.run.cutoff - timedelta(days=intake.late_days)
    return F.col(event_time_column(intake.dataset)) < F.lit(limit)


# --- numbers -------------------------------------------------------------------------------------------------------


def _rows_per_file(result: ReadResult, sources: Sequence[DatasetSource], paths: list[str]) -> dict[str, int]:
    """File -> number of the dataset's rows. Parquet footers know it; a `where` or another format needs a count."""
    if all(source.format == "parquet" and source.keeps_rows for source in sources):
        return result.rows
    assert result.frame is not None
    return {paths[row[FILE]]: row["count"] for row in result.frame.groupBy(FILE).count().collect()}


def _refused_per_file(examined: Examined) -> dict[str, int]:
    if examined.refused is None:
        return {}
    distinct = examined.refused.select("source_file", "row_hash", "count").distinct()
    return {
        row["source_file"]: row["n"] for row in distinct.groupBy("source_file").agg(F.sum("count").alias("n")).collect()
    }


def _files_read(files: tuple[RawFile, ...], rows: dict[str, int], refused: dict[str, int]) -> list[IngestedFile]:
    return [IngestedFile(f.path, f.size, f.fingerprint, rows.get(f.path, 0), refused.get(f.path, 0)) for f in files]


def _tally(ctx: StageContext, examined: Examined, quarantined: DataFrame | None) -> Tally:
    """Numbers over all files now present: counted for the files of this run, recorded for the earlier ones."""
    before = 0 if examined.plan.mode == "whole" else _existing_count(ctx, examined)
    tally = Tally(
        rows=sum(file.rows for file in examined.files),
        refused=sum(file.refused for file in examined.files),
        refused_distinct=0,
        valid_distinct=before + (examined.pending.staged.rows if examined.pending else 0),
        late=examined.late,
    )
    refused = all_refused(examined, quarantined)
    if refused is None or not tally.refused:
        return tally
    by_rule = refused.groupBy("rule").agg(
        F.count_distinct("row_hash").alias("rows"),
        F.slice(F.array_sort(F.collect_set("source_file")), 1, 5).alias("files"),
    )
    found = {row["rule"]: (row["rows"], tuple(row["files"])) for row in by_rule.collect()}
    return replace(
        tally,
        refused_distinct=refused.select("row_hash").distinct().count(),
        by_rule={rule: rows for rule, (rows, _) in found.items()},
        samples={rule: files for rule, (_, files) in found.items()},
    )


def all_refused(examined: Examined, quarantined: DataFrame | None) -> DataFrame | None:
    """The dataset's quarantine entries for the files now present, from earlier runs and from this one."""
    kept = None
    if quarantined is not None and examined.plan.unchanged:
        of_dataset = F.col("dataset") == F.lit(examined.source.dataset)
        kept = quarantined.where(of_dataset & F.col("source_file").isin(*examined.plan.unchanged))
    if kept is None or examined.refused is None:
        return kept if kept is not None else examined.refused
    return kept.unionByName(examined.refused)
