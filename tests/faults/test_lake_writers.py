"""Writers that race, and writers that are killed: nothing is lost, nothing is half there, a rerun mends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.sessions import session_for

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import Origin
from exp_platform.lake.publish import Publication, publish
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import CONTRACT_RESULTS, RUN_MANIFEST

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DT = date(2026, 2, 1)
VARIANTS = "silver.dim_experiment_variant"
ASSIGNMENTS = "silver.fact_assignment_canonical"

# A process of its own that publishes `rows` variants for an experiment, and may be stopped at a named moment.
WRITER = textwrap.dedent("""
    import sys, time
    from datetime import UTC, date, datetime
    from exp_platform.config.load import load_project
    from exp_platform.ledger import manifest
    from exp_platform.lake.catalog import load_handle
    from tests.stages import opened

    config, experiment, rounds, rows, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    project = load_project(config)

    def stop(*_, **__):
        print("now", flush=True)
        time.sleep(600)

    if moment == "files_written":
        from pyiceberg.catalog.sql import SqlCatalog
        real = SqlCatalog.commit_table
        def commit(self, table, *rest):
            return stop() if "variant" in table.name()[-1] else real(self, table, *rest)
        SqlCatalog.commit_table = commit
    if moment == "committed":
        manifest.StageManifest.flush = stop

    at = datetime(2026, 2, 2, tzinfo=UTC)
    for i in range(rounds):
        run_id, dt = f"run_{rows}_{i}", date(2026, 2, 1)
        with opened(project, experiment, dt, run_id, "sync_registry", log=lambda _: None) as ctx:
            ctx.publish("silver.dim_experiment_variant", [
                {"experiment_id": experiment, "variant_id": f"v{n}", "is_control": n == 0,
                 "expected_allocation": 0.1, "updated_at": at} for n in range(rows)])
""")


@pytest.fixture
def lake_project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    empty_lake(project)
    return project


def _writer(project: Project, experiment: str, rounds: int, rows: int, moment: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(project.path), experiment, str(rounds), str(rows), moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _variants(project: Project, experiment: str) -> int:
    rows = load_handle(project, VARIANTS).scan(row_filter=f"experiment_id = '{experiment}'").to_arrow()
    return rows.num_rows


@pytest.mark.slow
def test_processes_that_publish_different_experiments_to_the_same_tables_lose_no_commit(lake_project: Project) -> None:
    experiments = ["exp_checkout_button_001", "exp_add_cart_002", "exp_pricing_test_003"]
    rounds = 5
    for name in (VARIANTS, RUN_MANIFEST, CONTRACT_RESULTS):
        # By default manifests are merged from 100 on: here all the time.
        with load_handle(lake_project, name).transaction() as change:
            change.set_properties({"commit.manifest.min-count-to-merge": "3"})
    writers = [_writer(lake_project, experiment, rounds, rows=2 + i) for i, experiment in enumerate(experiments)]
    for writer in writers:
        _, err = writer.communicate(timeout=300)
        assert writer.returncode == 0, err[-2000:]

    assert [_variants(lake_project, experiment) for experiment in experiments] == [2, 3, 4]
    manifest = load_handle(lake_project, "ops.run_manifest").scan().to_arrow()
    assert manifest.num_rows == rounds * len(experiments)
    written = {
        (s.summary.additional_properties["experiment_id"], s.summary.additional_properties["run_id"])
        for s in load_handle(lake_project, VARIANTS).metadata.snapshots
        if s.summary and "run_id" in s.summary.additional_properties
    }
    assert len(written) == rounds * len(experiments)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "rows_after_the_kill"), [("files_written", 3), ("committed", 5)])
def test_a_writer_that_is_killed_leaves_all_or_nothing_and_its_rerun_ends_with_all(
    lake_project: Project, moment: str, rows_after_the_kill: int
) -> None:
    one, two = "exp_checkout_button_001", "exp_add_cart_002"
    for experiment, rows in ((one, 3), (two, 4)):
        assert _writer(lake_project, experiment, rounds=1, rows=rows).wait(timeout=120) == 0

    killed = _writer(lake_project, one, rounds=1, rows=5, moment=moment)
    assert killed.stdout is not None
    assert killed.stdout.readline().strip() == "now"
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)

    assert _variants(lake_project, one) == rows_after_the_kill
    assert _variants(lake_project, two) == 4

    assert _writer(lake_project, one, rounds=1, rows=5).wait(timeout=120) == 0
    assert _variants(lake_project, one) == 5
    assert _variants(lake_project, two) == 4


@pytest.mark.spark
def test_spark_writers_of_different_experiments_at_once_lose_no_commit(
    spark: SparkSession, lake_project: Project
) -> None:
    session = session_for(spark, lake_project)
    experiments = [f"exp_side_by_side_{i:03d}" for i in range(4)]

    def write(experiment: str) -> None:
        for turn in range(3):
            frame = session.range(10 * (turn + 1)).selectExpr(
                f"'{experiment}' AS experiment_id",
                "cast(id AS string) AS user_id",
                "'control' AS variant_id",
                "timestamp'2026-01-05 10:00:00' AS assignment_time_utc",
                "1L AS n_assignment_events",
                "1L AS n_variants",
                "false AS is_conflicted",
                "false AS is_outside_window",
                "true AS is_valid",
            )
            origin = Origin(f"run_{turn}", "build_assignments", DT, "config", "code")
            handle = load_handle(lake_project, ASSIGNMENTS)
            publish(Publication(TABLES[ASSIGNMENTS], Scope(experiment, DT), origin, handle), frame)

    with ThreadPoolExecutor(len(experiments)) as pool:
        list(pool.map(write, experiments))

    counts = session.table(f"iceberg.{ASSIGNMENTS}").groupBy("experiment_id").count().collect()
    assert {row["experiment_id"]: row["count"] for row in counts} == dict.fromkeys(experiments, 30)


SPARK_WRITER = textwrap.dedent("""
    import sys
    from datetime import date
    from exp_platform.config.load import load_project
    from exp_platform.lake.row_audit import Scope
    from exp_platform.lake.catalog import load_handle
    from exp_platform.lake.publication import Origin
    from exp_platform.lake.publish import Publication, publish
    from exp_platform.lake.tables import TABLES
    from exp_platform.spark.session import build_spark_session

    project = load_project(sys.argv[1])
    table = TABLES["exp.assignments"]
    spark = build_spark_session("killed writer", project)
    for turn in range(1000):
        frame = spark.range(1000 * (turn + 1)).selectExpr(
            "'exp_killed_writer' AS experiment_id", "cast(id AS string) AS user_id", "'control' AS variant",
            "timestamp'2026-01-05 10:00:00' AS assignment_ts", "'user' AS unit", "'a' AS source_file",
            "timestamp'2026-02-02 00:00:00' AS ingested_at")
        origin = Origin(f"run_{turn}", "ingest_events", date(2026, 2, 1), "config", "code")
        scope = Scope("exp_killed_writer", date(2026, 2, 1))
        publish(Publication(table, scope, origin, load_handle(project, table.name)), frame)
        print(turn, flush=True)
""")


@pytest.mark.spark
@pytest.mark.slow
def test_a_spark_writer_that_is_killed_leaves_one_whole_publication(lake_project: Project) -> None:
    import os

    writer = subprocess.Popen(
        [sys.executable, "-c", SPARK_WRITER, str(lake_project.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert writer.stdout is not None
    told = ""
    while told != "2":  # what a JVM says of itself on the way does not count
        told = writer.stdout.readline()
        assert told, "the writer ended before it was killed"
        told = told.strip()
    os.killpg(writer.pid, signal.SIGKILL)  # Python and its JVM, in the middle of the fourth publication
    writer.wait(timeout=60)

    rows = load_handle(lake_project, "exp.assignments").scan().to_arrow()
    assert rows.num_rows in (3000, 4000)
    assert len(set(rows["user_id"].to_pylist())) == rows.num_rows


# J4's way to publish: the rows are written to a branch, and the process is stopped before they are moved or after.
LARGE_WRITER = textwrap.dedent("""
    import sys, time
    from datetime import date
    from exp_platform.config.load import load_project
    from exp_platform.ledger import manifest
    from exp_platform.lake import publish
    from tests.stages import made_of, opened
    from exp_platform.spark.session import build_spark_session

    def stop(*_, **__):
        print("now", flush=True)
        time.sleep(600)

    config, rows, moment = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    project = load_project(config)
    spark = build_spark_session("killed writer", project)
    if moment == "files_written":
        publish.commit_staged = stop
    if moment == "committed":
        manifest.StageManifest.flush = stop
    experiment = "exp_checkout_button_001"
    frame = spark.range(rows).selectExpr(
        f"'{experiment}' AS experiment_id", "cast(id AS string) AS user_id", "'control' AS variant_id",
        "timestamp'2026-01-05 10:00:00' AS assignment_time_utc", "timestamp'2026-01-05 10:00:00' AS anchor_utc",
        "date'2026-01-05' AS cohort_date", "true AS included", "cast(null AS string) AS exclusion_reason",
        "map('country', 'DE') AS dimensions")
    stage = made_of("build_unit_outcomes")  # of no table, so that no run reuses another's rows
    with opened(project, experiment, date(2026, 2, 1), f"run_{rows}", stage, spark=spark) as ctx:
        ctx.publish("gold.fct_experiment_cohort", frame)
""")


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.parametrize(("moment", "rows_after_the_kill"), [("files_written", 300), ("committed", 500)])
def test_a_writer_of_a_large_table_that_is_killed_leaves_all_or_nothing(
    lake_project: Project, moment: str, rows_after_the_kill: int
) -> None:
    import os

    def write(rows: int, moment: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LARGE_WRITER, str(lake_project.path), str(rows), moment]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )

    def visible() -> int:
        return load_handle(lake_project, "gold.fct_experiment_cohort").scan().to_arrow().num_rows

    assert write(300).wait(timeout=180) == 0
    killed = write(500, moment)
    assert killed.stdout is not None
    told = ""
    while told != "now":
        told = killed.stdout.readline()
        assert told, "the writer ended before it was killed"
        told = told.strip()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(timeout=60)
    assert visible() == rows_after_the_kill

    assert write(500).wait(timeout=180) == 0
    assert visible() == 500
