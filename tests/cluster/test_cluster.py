"""Production as processes: Postgres, an object store, a Spark cluster and Airflow, by the scripts of the containers.

Three experiments run at once, and every answer is that of the embedded profile, also when a worker is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import pytest
import yaml
from pyarrow.fs import FileSelector, copy_files
from tests.cluster.compose import environment_of, generated_secrets, on_one_machine
from tests.cluster.services import ROOT, SCRIPTS, Services, clone_environment, free_ports
from tests.cluster.watch import CommandLines, event_log, files_with, work_in
from tests.e2e.airflow_rig import DIRECT_RUNS, SMALL, differing_tables, small_project, wait_until

from exp_platform.airflow.client import ApiError, Client
from exp_platform.config.load import Project, load_project
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.raw_zone import filesystem

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3 * 3600)]

IDS = ("exp_good", "exp_mixed_arms", "exp_harmful")
TINY = {"n_users": int(os.environ.get("EXP_CLUSTER_TEST_USERS", "600")), "days": 5, "pre_period_days": 3}
LAST, EARLIER = date(2026, 1, 11), date(2026, 1, 8)
WHOLE_RUN = (sys.executable, "-m", "exp_platform.pipelines.run_end_to_end", f"--dt={LAST}")


@dataclass(frozen=True)
class Cluster:
    """Running services, the environment of those of Airflow, and the profile that they read."""

    services: Services
    environment: dict[str, str]
    project: Project
    secrets: dict[str, str]
    lines: CommandLines
    events: Path
    spark_port: int
    web_port: int

    def run(self, *command: str) -> subprocess.Popen[str]:
        """A command in the environment of Airflow's services."""
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    secrets = generated_secrets(folder)
    first, spark, web = free_ports(20), free_ports(10), free_ports(10)
    places = {
        "http://object-store:9000": f"http://127.0.0.1:{first}",
        "spark-master:7077": f"127.0.0.1:{spark}",
        "airflow-api-server:8080": f"127.0.0.1:{web}",
        "http://localhost:8080": f"http://127.0.0.1:{web}",
        "postgres": "127.0.0.1",
        "/opt/platform/configs/prod.yaml": str(folder / "configs" / "prod.yaml"),
        "/opt/platform": str(ROOT),
        "/opt/airflow": str(folder / "airflow"),
    }
    airflow = on_one_machine(environment_of("airflow-scheduler", secrets), places)
    assert airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"].startswith("python ")
    airflow |= ports_of_one_machine(postgres=first + 10, web=web)
    events = folder / "events"
    events.mkdir()
    watched = {name: value for name, value in secrets.items() if re.search(r"PASSWORD|SECRET|KEY", name) and value}
    environment = clone_environment() | {"SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(folder)}
    # Postgres runs as another user, and its socket's path must be short.
    database = Path(tempfile.mkdtemp(prefix="postgres-"))
    database.chmod(0o755)
    with Services(folder / "services", environment) as services, CommandLines(watched.values()) as lines:
        start_stores(services, folder, database, secrets, first)
        start_spark(services, spark)
        whole = environment | airflow
        profile(folder, events)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in whole.items():
                if name.startswith("EXP_"):
                    patch.setenv(name, value)
            project = load_project(folder / "configs" / "prod.yaml")
            ensure_buckets(project)
            yield Cluster(services, whole, project, watched, lines, events, spark, web)
    shutil.rmtree(database, ignore_errors=True)


def ports_of_one_machine(postgres: int, web: int) -> dict[str, str]:
    """Ports, of which each container has its own."""
    return {
        "EXP_CATALOG_PORT": str(postgres),
        "AIRFLOW_DB_PORT": str(postgres),
        "AIRFLOW__API__PORT": str(web),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(web + 1),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(web + 2),
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }


def start_stores(services: Services, folder: Path, database: Path, secrets: dict[str, str], first: int) -> None:
    postgres = environment_of("postgres", secrets)
    services.start("postgres", [SCRIPTS / "postgres.sh", database / "served", str(first + 10)], [first + 10], postgres)
    (folder / "objects").mkdir()
    store = environment_of("object-store", secrets) | {"EXP_BIND": "127.0.0.1"}
    services.start("object-store", [SCRIPTS / "object_store.sh", folder / "objects", str(first)], [first], store)


def start_spark(services: Services, port: int) -> None:
    own = {"SPARK_MASTER_WEBUI_PORT": "0"}
    services.start("spark-master", [SCRIPTS / "spark.sh", "master", "127.0.0.1", str(port)], [port], own)
    for name in ("worker-1", "worker-2"):
        start_worker(services, port, name)


def start_worker(services: Services, port: int, name: str) -> None:
    sizes = {"SPARK_WORKER_CORES": "3", "SPARK_WORKER_MEMORY": "4g", "SPARK_WORKER_WEBUI_PORT": "0"}
    command = [SCRIPTS / "spark.sh", "worker", f"spark://127.0.0.1:{port}", services.folder / f"work-of-{name}"]
    services.start(name, command, (), sizes | {"EXP_WORKER_JARS": str(ROOT / ".jars")})


def profile(folder: Path, events: Path) -> None:
    """configs/prod.yaml with the sizes of one machine, and with generated experiments."""
    scenarios = dict.fromkeys(IDS, SMALL | TINY)
    small_project(folder, (), experiments=scenarios)
    path = folder / "configs" / "prod.yaml"
    dev = yaml.safe_load((folder / "configs" / "dev.yaml").read_text())
    content = yaml.safe_load(path.read_text())
    content |= {"synthetic": True} | {key: dev[key] for key in ("experiments", "experiment_defaults")}
    content |= {"memo_dir": str(folder / "memos"), "docs_dir": str(folder / "docs")}
    content["spark"] |= {"driver_memory": "1g", "executor_memory": "1g", "executor_cores": 1, "cores_max": 2}
    content["spark"] |= {"shuffle_partitions": 2}
    content["spark"]["conf"] = event_log(events)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The embedded profile after runs of both days, in one session."""
    folder = tmp_path_factory.mktemp("embedded")
    project = small_project(folder, (), experiments=dict.fromkeys(IDS, SMALL | TINY))
    runs = [f"{name},{LAST}," for name in IDS] + [f"{name},{EARLIER}" for name in IDS]
    command = [sys.executable, "-c", DIRECT_RUNS, str(project.path), *runs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return project


@pytest.fixture(scope="module")
def delivered(cluster: Cluster, embedded: Project) -> None:
    """Raw events in the store, as another team would deliver them: those of the embedded profile."""
    for name in IDS:
        source, folder = filesystem(embedded, embedded.raw_folder(name))
        target, path = filesystem(cluster.project, cluster.project.raw_folder(name))
        copy_files(folder, path, source_filesystem=source, destination_filesystem=target)


@pytest.mark.usefixtures("delivered")
def test_three_experiments_at_once_answer_as_the_embedded_profile(cluster: Cluster, embedded: Project) -> None:
    began = time.monotonic()
    runs = {name: cluster.run(*WHOLE_RUN, f"--experiment-id={name}") for name in IDS}
    said = {name: run.communicate(timeout=3600)[0] for name, run in runs.items()}
    print(f"\nthree experiments at once, {TINY['n_users']} users each: {time.monotonic() - began:.0f} s")

    assert {name: run.returncode for name, run in runs.items()} == dict.fromkeys(IDS, 0), said
    for name in IDS:
        assert differing_tables(cluster.project, embedded, name, [LAST]) == []
    assert not any(secret in text for text in said.values() for secret in cluster.secrets.values())
    applications = work_in(cluster.events).values()
    print(*applications, sep="\n")
    assert len(applications) == len(IDS)
    assert all("driver" not in work.tasks and sum(work.tasks.values()) > 20 for work in applications)
    assert {"SparkSubmit", "CoarseGrainedExecutorBackend"} <= cluster.lines.seen
    no_secret_is_found(cluster)


@pytest.mark.usefixtures("delivered")
def test_a_worker_that_is_killed_in_the_middle_of_a_run_changes_no_answer(cluster: Cluster, embedded: Project) -> None:
    """Worker and executor get SIGKILL while J4 runs, as when their machine is lost."""
    before = set(work_in(cluster.events))
    began = time.monotonic()
    run = cluster.run(*WHOLE_RUN, f"--experiment-id={IDS[0]}", "--full-refresh")
    assert run.stdout is not None
    said = lines_until("J4: ", run.stdout)
    jobs = jobs_in(cluster.events)
    wait_until("J4 starts a job", lambda: jobs_in(cluster.events) > jobs, 300)
    cluster.services.kill("worker-1")
    said += run.stdout
    run.wait(60)
    print(f"\na run that lost a worker: {time.monotonic() - began:.0f} s")
    start_worker(cluster.services, cluster.spark_port, "worker-3")

    assert run.returncode == 0, said
    (work,) = (work for name, work in work_in(cluster.events).items() if name not in before)
    print(work)
    assert [executor for executor in work.lost if work.tasks[executor]], "no executor was lost that had done work"
    assert differing_tables(cluster.project, embedded, IDS[0], [LAST]) == []


@pytest.mark.usefixtures("delivered")
def test_airflow_runs_three_experiments_a_day_on_the_cluster(cluster: Cluster, embedded: Project) -> None:
    start_airflow(cluster)
    client = Client(f"http://127.0.0.1:{cluster.web_port}", "admin", cluster.environment["AIRFLOW_ADMIN_PASSWORD"])
    for dag_id in ("daily_experiments", "experiment_analysis"):
        unpause(client, dag_id)
    firing = (EARLIER + timedelta(days=1)).isoformat()
    words = ["--dag-id", "daily_experiments", "--from-date", firing, "--to-date", firing]
    began = time.monotonic()
    created = cluster.run("airflow", "backfill", "create", *words)
    said = created.communicate(timeout=600)[0]
    assert created.returncode == 0, said[-3000:]

    def ended() -> bool:
        try:
            runs = client.get("/dags/daily_experiments/dagRuns?run_type=backfill")["dag_runs"]
        except TimeoutError:
            return False
        return bool(runs) and all(run["state"] in ("success", "failed") for run in runs)

    wait_until("the day ends", ended, 5400, every=10)
    print(f"\ndaily_experiments with three experiments on the cluster: {time.monotonic() - began:.0f} s")
    for name in IDS:
        assert differing_tables(cluster.project, embedded, name, [EARLIER]) == []
    no_secret_is_found(cluster)
    logs = logs_in_the_store(cluster)
    assert any(b"spark-submit" in log for log in logs), "no log of a task was searched"
    assert not any(secret.encode() in log for log in logs for secret in cluster.secrets.values())


def logs_in_the_store(cluster: Cluster) -> list[bytes]:
    """The logs of the tasks that have ended, which Airflow has sent to the store."""
    files, folder = filesystem(cluster.project, cluster.environment["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"])
    found = files.get_file_info(FileSelector(folder, recursive=True))
    return [files.open_input_stream(log.path).read() for log in found if log.is_file]


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


def start_airflow(cluster: Cluster) -> None:
    script = str(SCRIPTS / "airflow.sh")
    init = cluster.run(script, "init")
    said = init.communicate(timeout=900)[0]
    assert init.returncode == 0, said[-3000:]
    services, environment = cluster.services, cluster.environment
    services.start("api-server", [script, "api-server"], [cluster.web_port], environment)
    for part in ("scheduler", "dag-processor", "triggerer"):
        services.start(part, [script, part], (), environment)


def unpause(client: Client, dag_id: str) -> None:
    """Let a DAG run, as a person does after the first start: Airflow pauses each new one."""

    def done() -> bool:
        try:
            client.send("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        except OSError as error:
            if isinstance(error, ApiError) and error.status != 404:
                raise
            return False  # the DAG is not read yet, or the server is busy with its own start
        return True

    wait_until(f"{dag_id} is read", done, 900, every=5)


def no_secret_is_found(cluster: Cluster) -> None:
    """No canary in a command line, an event log, or the log of a service but for the id of the store's own key."""
    assert not cluster.lines.found
    assert files_with(cluster.events, cluster.secrets.values()) == []
    public = {cluster.environment["EXP_S3_ACCESS_KEY"]}
    secrets = set(cluster.secrets.values()) - public
    assert files_with(cluster.services.folder, secrets) == []
