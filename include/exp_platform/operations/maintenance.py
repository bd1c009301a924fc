"""Keep the lake small and fast, without deleting a file that a run reads or a published result needs.

python -m exp_platform.operations.maintenance --step compact|expire|orphans|quarantine [--config C]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import EqualTo, LessThan
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError, Superseded
from exp_platform.lake.catalog import CATALOG, commit_again, ensure_tables, load_catalog, load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DECISION, QUARANTINE, RUN_CLAIM, RUN_MANIFEST
from exp_platform.ledger import manifest
from exp_platform.ledger.claim import borrowed, check
from exp_platform.ledger.pins import PINNED_TABLES, pin_inputs
from exp_platform.operations.recover import back_up
from exp_platform.pipelines.job import Parser, exit_with

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Log = Callable[[str], None]

STEPS = ("compact", "expire", "orphans", "quarantine")
SNAPSHOT_DAYS = 7  # a retry, or a task cleared some days later, must still find the snapshots that its run pinned
LEAST_SNAPSHOT_DAYS = 1
ORPHAN_DAYS = 7
LEAST_ORPHAN_DAYS = 3  # a file of a running write belongs to no snapshot yet: a short age would delete it
SMALL_FILES = 5  # a partition with at least this many files is rewritten


def compact(
    project: Project, spark: SparkSession, run_id: str, now: datetime, log: Log = print, started_by: str = "maintenance"
) -> dict[str, list[str]]:
    """Rewrite small files, experiment by experiment and stream by stream, and return owner -> rewritten tables.

    Each experiment is claimed meanwhile. One that a run is at work on is skipped, and a run may take the claim over.
    """
    handles = ensure_tables(project)
    experiments = sorted({row["experiment_id"] for row in _scan(handles[RUN_CLAIM])})
    done: dict[str, list[str]] = {}
    for experiment_id in experiments:
        with borrowed(project, experiment_id, run_id, started_by, now) as had:
            if not had:
                log(f"compact: {experiment_id}: skipped until the next maintenance, because a run is at work on it")
                continue
            done[experiment_id] = _compact_experiment(project, spark, handles, experiment_id, run_id, log)
    rewritten = sorted({name for names in done.values() for name in names})
    for name in rewritten:
        _call(spark, "rewrite_manifests", f"table => '{CATALOG}.{name}', use_caching => false")
    log(f"compact: checked {len(done)} of {len(experiments)} experiments, rewrote {len(rewritten)} tables")
    return done


def expire(
    project: Project,
    spark: SparkSession,
    now: datetime,
    keep_days: float = SNAPSHOT_DAYS,
    log: Log = print,
    tables: Iterable[str] = TABLES,
) -> None:
    """Drop old snapshots with the files that only they hold, old tags and backfill branches; keep tagged snapshots."""
    if keep_days < LEAST_SNAPSHOT_DAYS:
        raise ConfigError(
            f"snapshots younger than {LEAST_SNAPSHOT_DAYS} day can't be expired (found keep_days={keep_days}): "
            "a running stage reads them"
        )
    keep_concluded(project, now, log)
    before, total = now - timedelta(days=keep_days), 0
    for name, handle in ensure_tables(project, names=tuple(tables)).items():
        if not _has_old_snapshots(handle, before):
            continue
        older = _older(_begin_of_current(handle, before))
        result = _call(spark, "expire_snapshots", f"table => '{CATALOG}.{name}', {older}, retain_last => 1")
        dropped = sum(value for column, value in result.items() if column.startswith("deleted_") and value)
        if dropped:
            log(f"expire: {name}: dropped {dropped:,} files")
        total += dropped
    log(f"expire: dropped {total:,} files that only snapshots before {before:%Y-%m-%d %H:%M} UTC held")


def remove_orphans(
    project: Project,
    spark: SparkSession,
    now: datetime,
    older_than_days: float = ORPHAN_DAYS,
    log: Log = print,
    tables: Iterable[str] = TABLES,
) -> dict[str, int]:
    """Delete files that no snapshot holds and no running write can own; return table -> number of files."""
    if older_than_days < LEAST_ORPHAN_DAYS:
        raise ConfigError(
            f"orphan files must be at least {LEAST_ORPHAN_DAYS} days old (found {older_than_days}): "
            "a younger file may belong to a write that is still running, and deleting it corrupts the table"
        )
    removed = {}
    listing = ", prefix_listing => true" if project.profile.object_store is not None else ""
    for name in ensure_tables(project, names=tuple(tables)):
        older = _older(now - timedelta(days=older_than_days))
        call = f"CALL {CATALOG}.system.remove_orphan_files(table => '{CATALOG}.{name}', {older}{listing})"
        found = spark.sql(call).count()
        if found:
            removed[name] = found
            log(f"orphans: {name}: deleted {found:,} files")
    log(f"orphans: deleted {sum(removed.values()):,} files in no snapshot, older than {older_than_days:g} days")
    return removed


def drop_old_quarantine(project: Project, now: datetime, log: Log = print) -> None:
    """Delete refused rows that were first seen longer ago than `quarantine.retain_days`."""
    days = project.profile.quarantine.retain_days
    old = LessThan("first_seen_at", (now - timedelta(days=days)).isoformat())
    handle = load_handle(project, QUARANTINE)
    rows = handle.scan(row_filter=old, selected_fields=("experiment_id",)).to_arrow().num_rows
    if rows:
        commit_again(handle, lambda h: h.delete(old))
    log(f"quarantine: deleted {rows:,} rows that were first seen more than {days} days ago")


def keep_concluded(project: Project, now: datetime, log: Log = print) -> None:
    """Tag the events of each concluded experiment's last run without limit, so that the run stays reproducible."""
    catalog = load_catalog(project)
    decided = EqualTo("table", DECISION)
    for experiment_id, experiment in project.experiments.items():
        if experiment.status != "concluded":
            continue
        rows = load_handle(project, RUN_MANIFEST, catalog).scan(row_filter=EqualTo("experiment_id", experiment_id))
        runs = [row for row in rows.filter(decided).to_arrow().to_pylist() if row["status"] == manifest.OK]
        if not runs:
            continue
        last = max(runs, key=lambda row: (row["dt"], row["at"]))["run_id"]
        pins = manifest.pins_of(manifest.run_rows(project, experiment_id, last, catalog))
        snapshots = {t: s for t in PINNED_TABLES if (s := pins.of(t)) and _exists(project, t, s)}
        kept = pin_inputs(project, experiment_id, last, snapshots, None, now, catalog)
        log(
            f"expire: {experiment_id} is concluded; keeps run {last} without limit ({', '.join(kept) or 'no snapshot'})"
        )


# --- inside --------------------------------------------------------------------------------------------------------


def _compact_experiment(
    project: Project, spark: SparkSession, handles: dict[str, IcebergTable], experiment_id: str, run_id: str, log: Log
) -> list[str]:
    rewritten: list[str] = []
    for name in handles:
        table = TABLES[name]
        if not table.holds_rows_of(experiment_id):
            continue
        ((column, owner),) = table.key_of(experiment_id).items()
        most = _most_files(load_handle(project, name), column, owner)
        if most < SMALL_FILES:
            continue
        try:
            check(project, experiment_id, run_id)
        except Superseded as newer:
            log(f"compact: {experiment_id}: {newer}; skipped its other tables until the next maintenance")
            break
        strategy = "sort" if TABLES[name].sort else "binpack"
        _call(
            spark,
            "rewrite_data_files",
            f"table => '{CATALOG}.{name}', strategy => '{strategy}', where => \"{column} = '{owner}'\", "
            f"options => map('min-input-files', '{SMALL_FILES}')",
        )
        rewritten.append(name)
        log(f"compact: {experiment_id}: {name}: rewrote partitions of up to {most} files")
    return rewritten


def _most_files(handle: IcebergTable, column: str, owner: str) -> int:
    """Number of files in that partition of the owner which has the most files."""
    files = handle.scan(row_filter=EqualTo(column, owner)).plan_files()
    return max(Counter(str(task.file.partition) for task in files).values(), default=0)


def _has_old_snapshots(handle: IcebergTable, before: datetime) -> bool:
    """True when a snapshot is old enough to expire; found without a Spark job."""
    snapshots = handle.metadata.snapshots
    return len(snapshots) > 1 and any(s.timestamp_ms < before.timestamp() * 1000 for s in snapshots)


def _begin_of_current(handle: IcebergTable, moment: datetime) -> datetime:
    """The time of the snapshot that was current at a moment, however old: a run that began then may read it."""
    snapshot = handle.current_snapshot()
    while snapshot is not None:
        born = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
        if born <= moment:
            return born
        snapshot = handle.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
    return moment


def _call(spark: SparkSession, procedure: str, arguments: str) -> dict[str, int]:
    row = spark.sql(f"CALL {CATALOG}.system.{procedure}({arguments})").first()
    return row.asDict() if row is not None else {}


def _older(moment: datetime) -> str:
    return f"older_than => TIMESTAMP '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def _exists(project: Project, table: str, snapshot_id: int) -> bool:
    return load_handle(project, table).snapshot_by_id(snapshot_id) is not None


def _scan(handle: IcebergTable) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = handle.scan().to_arrow().to_pylist()
    return rows


def maintain(project: Project, step: str, now: datetime, log: Log = print, spark: SparkSession | None = None) -> None:
    """Run one maintenance step, given by name."""
    if step == "quarantine":
        drop_old_quarantine(project, now, log)
        return
    if step not in STEPS:
        raise ConfigError(f"--step: found {step!r}, allowed: {', '.join(STEPS)}")
    ensure_tables(project)  # refuses a catalog that has lost its tables, before anything is deleted or backed up
    if backup := back_up(project):
        log(f"{step}: copied the catalog to {backup}")
    if spark is None:
        from exp_platform.spark.session import build_spark_session

        spark = build_spark_session(f"maintenance {step}", project)
    if step == "compact":
        compact(project, spark, f"maintenance__{now:%Y%m%dT%H%M%S}", now, log)
    elif step == "expire":
        expire(project, spark, now, log=log)
    else:
        remove_orphans(project, spark, now, log=log)


def main() -> None:
    """Run one step from the command line or by spark-submit."""
    parser = Parser(prog="maintenance", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", default=None)
    parser.add_argument("--step", required=True, choices=STEPS)
    try:
        arguments = parser.parse_args()
        maintain(load_project(arguments.config), arguments.step, datetime.now(UTC))
    except Exception as error:
        exit_with(error)


if __name__ == "__main__":
    main()
