"""A cluster of processes: Postgres, an object store, a Spark master and workers, in the environment of compose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from tests.cluster.compose import environment_of
from tests.cluster.services import ROOT, SCRIPTS, Services, short_lived_executors
from tests.cluster.watch import CommandLines, event_log, files_with
from tests.e2e.airflow_rig import SMALL, small_project, wait_until

from exp_platform.config.load import Project

IDS = ("exp_good", "exp_mixed_arms", "exp_harmful")
TINY = {"n_users": int(os.environ.get("EXP_CLUSTER_TEST_USERS", "600")), "days": 5, "pre_period_days": 3}
LAST, EARLIER = date(2026, 1, 11), date(2026, 1, 8)
WHOLE_RUN = (sys.executable, "-m", "exp_platform.pipelines.run_end_to_end", f"--dt={LAST}")


@dataclass(frozen=True)
class Ports:
    """The first of the ports of each service."""

    store: int
    spark: int
    web: int

    @property
    def postgres(self) -> int:
        """Postgres listens behind the ports that the object store takes."""
        return self.store + 10


@dataclass(frozen=True)
class Cluster:
    """Running services, the environment of those of Airflow, and the profile that they read."""

    services: Services
    environment: dict[str, str]
    project: Project
    secrets: dict[str, str]
    lines: CommandLines
    events: Path
    ports: Ports
    database: Path
    dotenv: dict[str, str]

    @property
    def airflow_database(self) -> dict[str, str]:
        """Where Airflow's database is, and its owner's login."""
        login = {"user": "airflow", "password": self.environment["AIRFLOW_DB_PASSWORD"], "dbname": "airflow"}
        return login | {"host": "127.0.0.1", "port": str(self.ports.postgres)}

    def run(self, *command: str | Path, **changed: str) -> subprocess.Popen[str]:
        """A command in the environment of Airflow's services, some of it changed, in a process group of its own."""
        return subprocess.Popen(
            [str(word) for word in command],
            env=self.environment | changed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start_postgres(self) -> None:
        """Start Postgres; its databases are made when its folder is new."""
        command = [SCRIPTS / "postgres.sh", self.database / "served", str(self.ports.postgres)]
        self.services.start("postgres", command, [self.ports.postgres], environment_of("postgres", self.dotenv))

    def start_store(self) -> None:
        """Start the object store."""
        objects = self.services.folder.parent / "objects"
        objects.mkdir(exist_ok=True)
        own = environment_of("object-store", self.dotenv) | {"EXP_BIND": "127.0.0.1"}
        command = [SCRIPTS / "object_store.sh", objects, str(self.ports.store)]
        self.services.start("object-store", command, [self.ports.store], own)

    def start_master(self) -> None:
        """Start the Spark master."""
        own = {"SPARK_MASTER_WEBUI_PORT": str(self.ports.spark + 1)}
        command = [SCRIPTS / "spark.sh", "master", "127.0.0.1", str(self.ports.spark)]
        self.services.start("spark-master", command, [self.ports.spark], own)

    def start_worker(self, name: str, cores: int = 3, full_disk: bool = False) -> None:
        """Start a worker and wait until the master has it; a full disk has no room for a single shuffle."""
        before = self.workers()
        sizes = {"SPARK_WORKER_CORES": str(cores), "SPARK_WORKER_MEMORY": "4g", "SPARK_WORKER_WEBUI_PORT": "0"}
        place = self.services.folder / f"work-of-{name}"
        command = [SCRIPTS / "spark.sh", "worker", f"spark://127.0.0.1:{self.ports.spark}", place]
        own = sizes | {"EXP_WORKER_JARS": str(ROOT / ".jars")}
        if full_disk:
            spill = self.services.folder / f"spill-of-{name}"
            spill.mkdir()
            own |= {"SPARK_LOCAL_DIRS": str(spill)}
            mount = f'mount -t tmpfs -o size=4k none "{spill}" && exec "$@"'
            command = ["unshare", "--mount", "bash", "-c", mount, "worker", *command]
        self.services.start(name, command, (), own)
        wait_until(f"the master has {name}", lambda: self.workers() > before, 600, every=0.5)

    def workers(self) -> set[str]:
        """The ids of all workers that the master has seen, those that are lost among them."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.spark + 1}/json/", timeout=30) as answer:
                return {worker["id"] for worker in json.load(answer)["workers"]}
        except OSError:
            return set()  # its pages come a moment after its port


def said_by(run: subprocess.Popen[str], seconds: float = 1500) -> str:
    """All that a command has written, after its end; what it started is ended with it."""
    try:
        return run.communicate(timeout=seconds)[0]
    finally:
        end_group(run)


def end_group(run: subprocess.Popen[str]) -> None:
    """Kill a command and everything that it has started, if anything is left of them."""
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def places_of_one_machine(folder: Path, ports: Ports) -> dict[str, str]:
    """The places of compose's containers, and where they are on one machine."""
    return {
        "http://object-store:9000": f"http://127.0.0.1:{ports.store}",
        "spark-master:7077": f"127.0.0.1:{ports.spark}",
        "airflow-api-server:8080": f"127.0.0.1:{ports.web}",
        "http://localhost:8080": f"http://127.0.0.1:{ports.web}",
        "postgres": "127.0.0.1",
        "/opt/platform/configs/prod.yaml": str(folder / "configs" / "prod.yaml"),
        "/opt/platform": str(ROOT),
        "/opt/airflow": str(folder / "airflow"),
    }


def ports_of_one_machine(ports: Ports) -> dict[str, str]:
    """Ports, of which each container has its own."""
    return {
        "EXP_CATALOG_PORT": str(ports.postgres),
        "AIRFLOW_DB_PORT": str(ports.postgres),
        "AIRFLOW__API__PORT": str(ports.web),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports.web + 1),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.web + 2),
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }


def write_profile(folder: Path, events: Path) -> None:
    """configs/prod.yaml with the sizes of one machine, and with generated experiments."""
    small_project(folder, (), experiments=dict.fromkeys(IDS, SMALL | TINY))
    path = folder / "configs" / "prod.yaml"
    dev = yaml.safe_load((folder / "configs" / "dev.yaml").read_text())
    content = yaml.safe_load(path.read_text())
    content |= {"synthetic": True} | {key: dev[key] for key in ("experiments", "experiment_defaults")}
    content |= {"memo_dir": str(folder / "memos"), "docs_dir": str(folder / "docs")}
    content["spark"] |= {"driver_memory": "1g", "executor_memory": "1g", "executor_cores": 1, "cores_max": 2}
    content["spark"] |= {"shuffle_partitions": 2}
    content["spark"]["conf"] = event_log(events) | short_lived_executors()
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def no_secret_is_found(cluster: Cluster) -> None:
    """No canary in a command line, an event log, or the log of a service but for the id of the store's own key."""
    assert not cluster.lines.found
    assert files_with(cluster.events, cluster.secrets.values()) == []
    assert files_with(cluster.services.folder, kept_secret(cluster.environment, cluster.secrets)) == []


def kept_secret(environment: Mapping[str, str], secrets: Mapping[str, str]) -> set[str]:
    """The secrets but for the id of the store's key, which the store's own server names in its log."""
    return set(secrets.values()) - {environment["EXP_S3_ACCESS_KEY"]}
