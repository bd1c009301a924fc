"""Airflow's home inside the clone: the settings of the local Airflow, and its database. Airflow is not imported."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from exp_platform.paths import clone_root

HOST = "127.0.0.1"
LOGIN = "admin"


@dataclass(frozen=True)
class Home:
    """The local Airflow: its folder, its port, and the folder of its DAGs."""

    folder: Path
    port: int = 8080
    dags: Path = clone_root() / "dags"

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://localhost:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder of the services' logs; task logs are in its subfolder `tasks`."""
        return self.folder / "logs"

    @property
    def password(self) -> str:
        """The login's password, which is generated once."""
        file = self.folder / "passwords.json"
        if not file.exists():
            _write_private(file, json.dumps({LOGIN: secrets.token_urlsafe(9)}))
        return str(json.loads(file.read_text())[LOGIN])

    def _secret(self, name: str) -> str:
        file = self.folder / f".{name}"
        if not file.exists():
            _write_private(file, secrets.token_urlsafe(64))
        return file.read_text()

    def environment(self) -> dict[str, str]:
        """The environment with every setting; no other Airflow on this machine is read or written."""
        root = clone_root()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.password  # noqa: B018  (made before Airflow looks for it)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRFLOW_HOME"))}
        return inherited | {
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "include" / "exp_platform" / "airflow" / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{self.port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__INSTANCE_NAME": "Experiments",
            "AIRFLOW__API__SECRET_KEY": self._secret("api_secret"),
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret("jwt_secret"),
            # The first answers after a start are slow, and even slower while Spark uses both cores.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # Seconds to wait for a lock: a backfill that is created while the scheduler writes failed after five.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.folder}/airflow.db?timeout=60",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs / "tasks"),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "AIRFLOW__TRIGGERER__CAPACITY": "100",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        }

    def prepare(self, pool_slots: int) -> None:
        """Create database, connection and pools; skipped when a stamp file says that they exist."""
        stamp = self.folder / "prepared"
        content = f"airflow {version('apache-airflow')}, two pools, {pool_slots}"
        if stamp.exists() and stamp.read_text() == content and (self.folder / "airflow.db").exists():
            return
        done = subprocess.run(
            [sys.executable, "-m", "exp_platform.airflow.prepare", str(pool_slots)],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"Airflow's database could not be prepared in {self.folder}:\n{done.stderr[-3000:]}")
        stamp.write_text(content)


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
