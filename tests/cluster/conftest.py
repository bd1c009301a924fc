"""One cluster, one embedded profile to compare with, and three runs at once, for all tests that need them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow.fs import copy_files
from tests.cluster.compose import environment_of, generated_secrets, on_one_machine
from tests.cluster.rig import (
    EARLIER,
    IDS,
    LAST,
    TINY,
    WHOLE_RUN,
    Cluster,
    Ports,
    places_of_one_machine,
    ports_of_one_machine,
    said_by,
    write_profile,
)
from tests.cluster.services import Services, clone_environment
from tests.cluster.watch import CommandLines, Work, work_in
from tests.e2e.airflow_rig import ROOT, SMALL, small_project
from tests.ports import free_ports

from exp_platform.config.load import Project, load_project
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.raw_zone import filesystem


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    secrets = generated_secrets(folder)
    ports = Ports(store=free_ports(), spark=free_ports(), web=free_ports())
    airflow = on_one_machine(environment_of("airflow-scheduler", secrets), places_of_one_machine(folder, ports))
    assert airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"].startswith("python ")
    events = folder / "events"
    events.mkdir()
    watched = {name: value for name, value in secrets.items() if re.search(r"PASSWORD|SECRET|KEY", name) and value}
    environment = clone_environment() | {"SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(folder)}
    whole = environment | airflow | ports_of_one_machine(ports)
    # Postgres runs as another user, and its socket's path must be short.
    database = Path(tempfile.mkdtemp(prefix="postgres-"))
    database.chmod(0o755)
    write_profile(folder, events)
    with (
        Services(folder / "services", environment) as services,
        CommandLines(watched.values()) as lines,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in whole.items():
            if name.startswith("EXP_"):
                patch.setenv(name, value)
        project = load_project(folder / "configs" / "prod.yaml")
        made = Cluster(services, whole, project, watched, lines, events, ports, database, secrets)
        made.start_postgres()
        made.start_store()
        made.start_master()
        for worker in ("worker-1", "worker-2"):
            made.start_worker(worker)
        ensure_buckets(project)
        yield made
    shutil.rmtree(database, ignore_errors=True)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The embedded profile after runs of both days, in one session."""
    folder = tmp_path_factory.mktemp("embedded")
    project = small_project(folder, (), experiments=dict.fromkeys(IDS, SMALL | TINY))
    runs = [f"{name},{LAST}," for name in IDS] + [f"{name},{EARLIER}" for name in IDS]
    command = [sys.executable, "-m", "tests.e2e.direct_runs", str(project.path), *runs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return project


@pytest.fixture(scope="session")
def delivered(cluster: Cluster, embedded: Project) -> None:
    """Raw events in the store, as another team would deliver them: those of the embedded profile."""
    for name in IDS:
        source, folder = filesystem(embedded, embedded.raw_folder(name))
        target, path = filesystem(cluster.project, cluster.project.raw_folder(name))
        copy_files(folder, path, source_filesystem=source, destination_filesystem=target)


@dataclass(frozen=True)
class ThreeRuns:
    """How three runs at once ended: exit code and words of each by experiment, and the work of their executors."""

    codes: dict[str, int]
    said: dict[str, str]
    work: list[Work]
    seconds: float


@pytest.fixture(scope="session")
def three_runs(cluster: Cluster, delivered: None) -> ThreeRuns:
    """Three experiments at once, each by `run_end_to_end`."""
    began, before = time.monotonic(), set(work_in(cluster.events))
    runs = {name: cluster.run(*WHOLE_RUN, f"--experiment-id={name}") for name in IDS}
    said = {name: said_by(run, 3600) for name, run in runs.items()}
    codes = {name: run.returncode for name, run in runs.items()}
    work = [work for name, work in work_in(cluster.events).items() if name not in before]
    return ThreeRuns(codes, said, work, time.monotonic() - began)
