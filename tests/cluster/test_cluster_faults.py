"""Machines that are lost, services that are gone for a while, and wrong settings, on a cluster of processes.

After each fault the lake shows what it showed before, or all of a stage; the stage, tried again, gives the same bytes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from tests.cluster.rig import IDS, LAST, WHOLE_RUN, Cluster, end_group, no_secret_is_found, said_by
from tests.cluster.services import ROOT
from tests.cluster.watch import metadata_with, work_in
from tests.e2e.airflow_rig import answers, wait_until

from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.pipelines.registry import BY_NAME

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]

ONE = IDS[0]
J4 = "build_unit_outcomes"
STOPPING = Path(__file__).with_name("stopped_stage.py")
OF_THE_RUN = (f"--experiment-id={ONE}", f"--dt={LAST}")
GONE_SECONDS = 20
Answers = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> Answers:
    """The answers of a day whose stages are done, as they must be after each fault on a stage that is done again."""
    if not any(answers(cluster.project, ONE, LAST, BY_NAME[J4].publishes).values()):  # else test_cluster.py has run it
        run = cluster.run(*WHOLE_RUN, f"--experiment-id={ONE}", "--generate-synth")
        said = said_by(run, 3000)
        assert run.returncode == 0, said
    return answers(cluster.project, ONE, LAST)


WRONG = {
    "the store's secret": ({"EXP_S3_SECRET_KEY": "canary-wrong-secret-8401"}, "sync_registry"),
    "the catalog's password": ({"EXP_CATALOG_PASSWORD": "canary-wrong-password-8402"}, "sync_registry"),
    "the raw bucket": ({"EXP_RAW_ROOT": "s3a://nowhere"}, "ingest_events"),
}
SENTENCES = {
    "the store's secret": r"the object store \S+ refuses this client .*object_store.access_key",
    "the catalog's password": r"refuses the user 'iceberg' .*catalog.password",
    "the raw bucket": r"the bucket 'nowhere' of s3a://nowhere\S* is not in the object store",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_setting_ends_a_stage_with_one_sentence(cluster: Cluster, what: str) -> None:
    changed, stage = WRONG[what]
    run = cluster.run(sys.executable, ROOT / "spark_jobs" / f"{stage}.py", *OF_THE_RUN, **changed)
    said = said_by(run)
    say(f"wrong: {what}", run, said)

    assert run.returncode not in (0, 65)
    assert re.search(SENTENCES[what], one_sentence(said))
    assert not any(value in said for value in (*changed.values(), *cluster.secrets.values()) if "://" not in value)
    assert run.returncode == ConfigError.exit_code


def test_a_driver_that_is_killed_before_its_commit_publishes_nothing(cluster: Cluster, undisturbed: Answers) -> None:
    before = published_snapshots(cluster)
    with stopped_at("at the commit", cluster) as stage:
        pages = [web_page(cluster.ports.spark + 1, path) for path in ("", "json/")]
        end_group(stage)

    assert any(ONE in page for page in pages), "the master's pages were not those of a running application"
    assert not any(secret in page for page in pages for secret in cluster.secrets.values())
    assert published_snapshots(cluster) == before
    done_again(cluster, undisturbed)


def test_postgres_that_is_gone_for_20_s_at_a_commit_costs_at_most_one_more_try(
    cluster: Cluster, undisturbed: Answers
) -> None:
    def gone() -> None:
        cluster.services.kill("postgres", signal.SIGQUIT)  # all connections are cut, as when its machine is lost

    gone_for_a_while(cluster, undisturbed, gone, cluster.start_postgres)


def test_a_store_that_is_gone_for_20_s_costs_at_most_one_more_try(cluster: Cluster, undisturbed: Answers) -> None:
    gone_for_a_while(cluster, undisturbed, lambda: cluster.services.kill("object-store"), cluster.start_store)


def gone_for_a_while(
    cluster: Cluster, undisturbed: Answers, end: Callable[[], None], start: Callable[[], None]
) -> None:
    """J4 comes to its commit while a service is gone; the service comes back, and J4 is done, or is tried again."""
    before = published_snapshots(cluster)
    with stopped_at("at the commit", cluster) as stage:
        end()
        os.kill(stage.pid, signal.SIGCONT)
        time.sleep(GONE_SECONDS)
        start()
        said = said_by(stage)
    say("back after 20 s", stage, said)
    after = published_snapshots(cluster)
    if stage.returncode == 0:
        assert not set(before.items()) & set(after.items())
    else:
        assert stage.returncode not in (64, 65), "a short outage is taken for a fault of the configuration or the data"
        assert one_sentence(said)
        done_again(cluster, undisturbed)
    same_answers(cluster, undisturbed)


def test_a_worker_whose_disk_is_full_publishes_nothing_half(cluster: Cluster, undisturbed: Answers) -> None:
    before = published_snapshots(cluster)
    cluster.start_worker("worker-full", cores=8, full_disk=True)  # the master takes the worker with most free cores
    run = stage_of(cluster)
    said = said_by(run)
    cluster.services.kill("worker-full")
    say("a full disk", run, said)

    assert "No space left on device" in said
    if run.returncode != 0:
        assert "no space is left on a disk of" in one_sentence(said)
        # The stage's first table may be published, if little of it was shuffled: whole, or not at all.
        assert set(published_snapshots(cluster).items()) & set(before.items())
        same_answers(cluster, undisturbed)
        done_again(cluster, undisturbed)
    same_answers(cluster, undisturbed)


def test_a_worker_that_is_killed_in_the_middle_of_j4_and_one_in_j5_change_no_answer(
    cluster: Cluster, undisturbed: Answers
) -> None:
    """Worker and executor get SIGKILL, as when their machine is lost."""
    before = set(work_in(cluster.events))
    began = time.monotonic()
    run = cluster.run(*WHOLE_RUN, f"--experiment-id={ONE}", "--full-refresh")
    assert run.stdout is not None
    said = []
    for title, lost, new in (("J4: ", "worker-1", "worker-3"), ("J5: ", "worker-2", "worker-4")):
        said += lines_until(title, run.stdout)
        jobs = jobs_in(cluster.events)
        wait_until(f"{title} starts a job", lambda jobs=jobs: jobs_in(cluster.events) > jobs, 900, every=0.2)
        cluster.services.kill(lost)
        cluster.start_worker(new)
    said += run.stdout
    run.wait(60)
    print(f"\na run that lost a worker in J4 and one in J5: {time.monotonic() - began:.0f} s")

    assert run.returncode == 0, said
    (work,) = (work for name, work in work_in(cluster.events).items() if name not in before)
    print(work, f"; lost: executors {', '.join(work.lost)}")
    assert len([executor for executor in work.lost if work.tasks[executor]]) >= 2, "a lost executor had done nothing"
    assert answers(cluster.project, ONE, LAST) == undisturbed


def test_no_secret_is_found_after_all_faults(cluster: Cluster) -> None:
    no_secret_is_found(cluster)
    assert metadata_with(cluster.project, [ONE]), "no summary of a snapshot was searched"
    assert metadata_with(cluster.project, cluster.secrets.values()) == []


def published_snapshots(cluster: Cluster) -> dict[str, int]:
    """The published snapshot of each table of J4."""
    handles = {table: load_handle(cluster.project, table) for table in BY_NAME[J4].publishes}
    return {table: handle.metadata.current_snapshot_id or 0 for table, handle in handles.items()}


@contextmanager
def stopped_at(moment: str, cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """J4 as a driver of its own that stands still at a named moment; it has ended after the `with` block."""
    stage = cluster.run(sys.executable, STOPPING, J4, moment, *OF_THE_RUN, "--full-refresh", PYTHONPATH=str(ROOT))
    try:
        wait_until(f"{J4} stands still", lambda: stands_still(stage), 1500, every=0.5)
        yield stage
    finally:
        end_group(stage)


def stands_still(run: subprocess.Popen[str]) -> bool:
    """True when a process is stopped; fails when it has ended."""
    if run.poll() is not None:
        assert run.stdout is not None
        raise AssertionError(run.stdout.read())
    return Path(f"/proc/{run.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def stage_of(cluster: Cluster) -> subprocess.Popen[str]:
    """J4 once more, undisturbed."""
    return cluster.run(sys.executable, ROOT / "spark_jobs" / f"{J4}.py", *OF_THE_RUN, "--full-refresh")


def done_again(cluster: Cluster, undisturbed: Answers) -> None:
    """J4 started again ends well, and every answer is that of the embedded profile."""
    run = stage_of(cluster)
    said = said_by(run)
    assert run.returncode == 0, said
    same_answers(cluster, undisturbed)


def same_answers(cluster: Cluster, undisturbed: Answers) -> None:
    """The answers of J4 are what they were; no other stage has run."""
    now = answers(cluster.project, ONE, LAST, BY_NAME[J4].publishes)
    assert now == {table: undisturbed[table] for table in now}


def one_sentence(said: str) -> str:
    """The last line of a stage that failed, which is for a person: it is no line of a traceback."""
    last = said.strip().splitlines()[-1]
    assert not re.match(r"\s|Traceback|\d\d:\d\d:\d\d", last), said
    return last


def say(what: str, run: subprocess.Popen[str], said: str) -> None:
    """Print how a disturbed stage ended, for whoever reads the output of the whole test."""
    print(f"\n{what}: exit {run.returncode}: {said.strip().splitlines()[-1]}")


def lines_until(start: str, output: IO[str]) -> list[str]:
    """The lines of an output up to the one with a stage's title."""
    said = []
    for line in output:
        said.append(line)
        if start in line:
            return said
    raise AssertionError(f"no line with {start!r}: {said}")


def jobs_in(events: Path) -> int:
    """The number of Spark jobs that have started."""
    return sum(path.read_text().count('"SparkListenerJobStart"') for path in events.glob("eventlog_*/events_*"))


def web_page(port: int, path: str) -> str:
    """A page of Spark's master."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return str(answer.read().decode())
