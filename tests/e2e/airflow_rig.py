"""A small project and an Airflow of its own for the end-to-end tests; nothing in the clone's data/ is touched."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tests.e2e import airflow_commands
from tests.e2e.direct_runs import run_directly
from tests.ports import free_ports
from tests.sessions import session_for

from exp_platform.airflow import local
from exp_platform.airflow.client import Client
from exp_platform.airflow.home import LOGIN, Home
from exp_platform.config.load import Project, load_project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables import TABLES, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "days": 8,
    "n_users": 3000,
    "exposure_rate": 0.9,
    "treatment_share": 0.5,
    "base_conversion": 0.2,
    "effect_lift_conversion": 0.06,
    "revenue_mean": 40.0,
    "revenue_sd": 10.0,
    "pre_period_days": 7,
}
SCENARIOS = {
    "exp_good": SMALL,
    "exp_mixed_arms": SMALL | {"n_users": 2000},
    "exp_harmful": SMALL | {"n_users": 2000, "effect_lift_latency": 0.6},
    "exp_late": SMALL,
}

# What Airflow reads beside the environment of `Home`: it would look every five minutes for tasks of a dead scheduler.
SETTINGS = """
[core]
fernet_key = {fernet_key}

[scheduler]
orphaned_tasks_check_interval = 10
"""
# Nothing changes in a rig's folder of DAGs: each file is parsed once, not every half a minute.
PARSED_ONCE = dict.fromkeys(
    ("AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL", "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"), "3600"
)


def small_project(folder: Path, names: tuple[str, ...], **profile: Any) -> Project:
    """The shipped metrics, some small scenarios, and a lake of its own."""
    configs = folder / "configs"
    shutil.copytree(ROOT / "configs", configs)
    for file in (configs / "experiments").glob("*.yaml"):
        file.unlink()
    path = configs / "dev.yaml"
    content = yaml.safe_load(path.read_text())
    content["spark"] |= {"driver_memory": "1g", "shuffle_partitions": 2}
    content["experiments"] = {name: SCENARIOS[name] for name in names}
    content |= profile
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_project(path)


@dataclass(frozen=True)
class RigHome(Home):
    """The home of a rig, whose services read its project and parse its DAGs once."""

    config: str = ""

    def environment(self) -> dict[str, str]:
        """The settings of the local Airflow, and those of the rig."""
        return super().environment() | PARSED_ONCE | {"EXP_CONFIG": self.config}


@dataclass(frozen=True)
class Finished:
    """A run as Airflow's database tells it."""

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    log: str


class Rig:
    """One Airflow home over one small project."""

    def __init__(self, folder: Path, *names: str, **profile: Any) -> None:
        self.folder = folder
        self.project = small_project(folder, names, **profile)
        self.home = RigHome(folder / "airflow", free_ports(), folder / "dags", str(self.project.path))
        shutil.copytree(ROOT / "dags", self.home.dags)
        self.home.folder.mkdir()
        fernet_key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        (self.home.folder / "airflow.cfg").write_text(SETTINGS.format(fernet_key=fernet_key))
        self.home.prepare(1)
        self.commands: subprocess.Popen[str] | None = None

    def airflow(self, *words: str) -> tuple[int, str]:
        """Exit code and output of an Airflow command."""
        if self.commands is None:
            program, pipe = [sys.executable, "-m", airflow_commands.__name__], subprocess.PIPE
            self.commands = subprocess.Popen(
                program, cwd=ROOT, env=self.home.environment(), stdin=pipe, stdout=pipe, text=True
            )
        asked, answered = self.commands.stdin, self.commands.stdout
        assert asked is not None and answered is not None
        file = self.folder / "command.log"
        file.write_text("")
        print(json.dumps({"words": words, "file": str(file)}), file=asked, flush=True)
        for line in answered:
            if line.startswith(airflow_commands.ENDED):
                return int(line.split()[1]), file.read_text()
        raise AssertionError(f"no command of Airflow can be run: exit code {self.commands.wait()}")

    def python(self, *words: str) -> None:
        """A program of ours that has to end well."""
        done = subprocess.run(
            [sys.executable, *words],
            env=self.home.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def analyse(self, day: date, faults: Mapping[str, str], spark: SparkSession) -> None:
        """Generate each experiment with its fault, and run its stages as of that day without Airflow."""
        for experiment_id, fault in faults.items():
            run_directly(self.project, experiment_id, day, session_for(spark, self.project), fault)

    def dag_test(self, **conf: Any) -> Finished:
        """`airflow dags test experiment_analysis` with the real operators and jobs."""
        code, said = self.airflow("dags", "test", "experiment_analysis", "--conf", json.dumps(conf))
        run_id = self.query("select run_id from dag_run order by id desc limit 1")[0][0]
        found = self.finished("experiment_analysis", run_id, said)
        # `dags test` ends without writing the run's state down; it says so with its exit code.
        return replace(found, state="failed" if code else "success")

    def finished(self, dag_id: str, run_id: str, log: str = "") -> Finished:
        """Tell how a run ended."""
        state = self.query("select state from dag_run where dag_id = ? and run_id = ?", dag_id, run_id)[0][0]
        rows = self.query(
            "select task_id, state, try_number from task_instance where dag_id = ? and run_id = ?", dag_id, run_id
        )
        return Finished(state, {r[0]: r[1] for r in rows}, {r[0]: r[2] for r in rows}, log)

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Rows of Airflow's database."""
        with sqlite3.connect(self.home.folder / "airflow.db", timeout=30) as connection:
            return connection.execute(sql, values).fetchall()

    def up(self) -> str:
        """Start what does not run, as `make up` does; what that says. The services are children of this process."""
        said = io.StringIO()
        with redirect_stdout(said):
            code = local.up(self.home, seconds=1200)
        assert code == 0, said.getvalue()
        return said.getvalue()

    def make_up(self) -> str:
        """The command behind `make up`, with this home's folder, port and DAGs; it has to end well."""
        where = {"--home": self.home.folder, "--port": self.home.port, "--dags": self.home.dags}
        words = [str(word) for pair in where.items() for word in pair]
        command = [sys.executable, "-m", "exp_platform.airflow.local", "up", *words]
        return subprocess.run(
            command, env=self.home.environment(), capture_output=True, text=True, check=True, timeout=600
        ).stdout

    def down(self) -> None:
        """Stop every service, and the process of the commands."""
        if self.commands is not None:
            self.commands.communicate()
        with redirect_stdout(io.StringIO()):
            local.down(self.home)

    def ended(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run that is over, else None; read from the database, as each question to the API costs."""
        found = self.query("select state from dag_run where dag_id = ? and run_id = ?", dag_id, run_id)
        return next((state for (state,) in found if state in ("success", "failed")), None)

    def client(self) -> Client:
        """The REST API of the running Airflow."""
        return Client(self.home.url, LOGIN, self.home.password)


def direct_runs(rig: Rig, folder: Path, experiment_id: str, days: Iterable[date], spark: SparkSession) -> Project:
    """A second lake over the same raw files, with one direct run of each day."""
    project = small_project(folder, (experiment_id,), raw_root=rig.project.raw_root)
    session = session_for(spark, project)
    for day in days:
        run_directly(project, experiment_id, day, session)
    return project


def differing_tables(one: Project, other: Project, experiment_id: str, days: Iterable[date]) -> list[tuple[str, str]]:
    """(dt, table) where the rows differ, but for the columns that tell of the run and not of the answer."""
    found = []
    for dt in days:
        here, there = (answers(project, experiment_id, dt) for project in (one, other))
        found += [(dt.isoformat(), table) for table in here if here[table] != there[table]]
    return found


def answers(project: Project, experiment_id: str, dt: date, names: Iterable[str] = TABLES) -> dict[str, Counter[str]]:
    """The rows of each table with dt, but for the columns that tell of the run and not of the answer."""

    def of(table: Table) -> Counter[str]:
        rows = read_rows(load_handle(project, table.name), {"experiment_id": experiment_id, "dt": dt})
        return Counter(
            repr([(column, row[column]) for column in (*table.grain, *table.answer_columns)]) for row in rows
        )

    tables = [TABLES[name] for name in names if TABLES[name].has_dt and not name.startswith("ops.")]
    return {table.name: of(table) for table in tables}


def wait_until(what: str, condition: Callable[[], Any], seconds: float, every: float = 1) -> Any:
    """The condition's first true value; it is asked for again after some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:g} s")
