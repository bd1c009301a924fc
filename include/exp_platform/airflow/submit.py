"""Start spark-submit of this virtual environment in such a way that the Spark application dies with its task."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from exp_platform.errors import wrapped

_GUARD = str(Path(__file__).with_name("guard.py"))
_MASTER = re.compile(r"local(\[[^\]]+\])?|spark://.+|k8s://.+|yarn")
_CLUSTER_MASTER = re.compile(r"k8s://.+|yarn")
# A line of Spark's log: by configs/log4j2.properties, or by Spark's default, where the driver is not this JVM's.
_LOG_LINE = re.compile(r"(\d\d/\d\d/\d\d )?\d\d:\d\d:\d\d [A-Z]+ ")
_JVM_GREETING = "WARNING: Using incubator modules"  # printed by every JVM that Spark starts
_GRACE_SECONDS = 3.0
_KILL_SECONDS = 60.0
LONGEST_LINE = 120  # longer lines are wrapped in the task's log


def spark_home() -> Path:
    """The folder of the Spark that pip installed in this environment."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise AirflowFailException("pyspark is not installed in this environment: run `make setup`")
    return Path(spec.origin).parent


def submit_environment(java_home: str) -> dict[str, str]:
    """The environment variables for spark-submit; they override those of the shell that started Airflow."""
    return {
        "JAVA_HOME": java_home,
        "SPARK_HOME": str(spark_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
    }


class GuardedSparkSubmitHook(SparkSubmitHook):
    """The provider's hook, with an own process group, a lifeline, and a check that the connection exists."""

    _logger_name = "spark"  # shown beside each line of the task's log
    _last_line = ""
    _master = ""

    def __init__(self, *, process_environment: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._env = process_environment  # of spark-submit itself, wherever the driver runs
        # The provider refuses Kubernetes without its client, which only its own polling and deleting of pods needs:
        # here spark-submit waits for the driver's pod, and ends it.
        self._connection["master"] = self._master
        self._is_kubernetes = self._master.startswith("k8s://")

    def _resolve_connection(self) -> dict[str, Any]:
        form = '{"conn_type": "spark", "host": "local[2]"}'
        try:
            self.get_connection(self._conn_id)
        except AirflowNotFoundException:  # the provider would go on with master `yarn`
            raise AirflowFailException(f"connection '{self._conn_id}' is missing; create it as JSON: {form}") from None
        resolved = super()._resolve_connection()
        if not _MASTER.fullmatch(resolved["master"]):
            raise AirflowFailException(
                f"connection '{self._conn_id}': '{resolved['master']}' is not a Spark master "
                f"(local[n], spark://…, k8s://…, yarn); write it as JSON, not as a URI: {form}"
            )
        if resolved["deploy_mode"] == "cluster" and not _CLUSTER_MASTER.fullmatch(resolved["master"]):
            raise AirflowFailException(
                f"submit.deploy_mode: found cluster, but the connection '{self._conn_id}' names {resolved['master']}: "
                "Spark runs a Python driver in the cluster on yarn and k8s://… alone; take deploy_mode client"
            )
        self._master = resolved["master"]
        return resolved | ({"master": ""} if self._master.startswith("k8s://") else {})

    def _build_spark_submit_command(self, application: str) -> list[str]:
        arguments = [str(argument) for argument in self._application_args or []]
        self.log.info(
            "spark-submit --master %s %s %s",
            self._connection["master"],
            Path(application).name,
            self._mask_cmd(arguments),
        )
        submit = [*self._get_spark_binary_path(), *self._build_spark_common_args(), application, *arguments]
        return [sys.executable, "-I", "-S", _GUARD, *submit]

    def start(self, application: str) -> None:
        """Start spark-submit; its standard input, the guard's lifeline, closes with this process."""
        self._submit_sp = subprocess.Popen(
            self._build_spark_submit_command(application),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | (self._env or {}),
        )

    def finish(self) -> int:
        """Show the output of spark-submit until it ends; its exit code, 128 + n when signal n ended it.

        On Kubernetes spark-submit ends well whatever the driver did, and prints the driver's exit code.
        """
        process = self._submit_sp
        assert process is not None, "start comes before"
        self._process_spark_submit_log(iter(process.stdout))
        code: int = process.wait()
        code = 128 - code if code < 0 else code
        return code or (self._spark_exit_code or 0 if self._is_kubernetes else 0)

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._shown(itr))

    def _shown(self, lines: Iterator[str]) -> Iterator[str]:
        """The job's lines as the task's log shows them: without the JVM's greeting, long ones wrapped."""
        for line in lines:
            if line.startswith(_JVM_GREETING):
                continue
            # Lines about a driver in the cluster stay whole: the provider looks for its id and its exit code in them.
            if not line.strip() or _LOG_LINE.match(line) or self._connection["deploy_mode"] == "cluster":
                yield line
                continue
            self._last_line = line.strip()
            yield from wrapped(line).splitlines() if len(line) > LONGEST_LINE else [line]

    def on_kill(self) -> None:
        """End the whole process group, then the driver in the cluster (YARN, Kubernetes)."""
        process = self._submit_sp
        if process is not None and process.poll() is None:
            _end_group(process)
        if self._yarn_application_id:
            self._end_driver(["yarn", "application", "-kill", self._yarn_application_id])
        if self._is_kubernetes and self._kubernetes_driver_pod:
            pod = f"{self._connection['namespace'] or 'default'}:{self._kubernetes_driver_pod}"
            self._end_driver([*self._get_spark_binary_path(), "--master", self._master, "--kill", pod])

    def _end_driver(self, command: list[str]) -> None:
        """Run the command that ends a driver in the cluster; what it could not do is told, and the task ends anyway."""
        try:
            done = subprocess.run(
                command,
                env=os.environ | (self._env or {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_KILL_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.log.error("the driver in the cluster may still run: %s", error)
            return
        if done.returncode:
            self.log.error("the driver in the cluster may still run: %s", done.stdout.strip()[-500:])

    def take_driver(self, pod: str) -> None:
        """Keep the name of the driver's pod, which spark-submit is told to use."""
        self._kubernetes_driver_pod = pod

    @property
    def driver_id(self) -> str:
        """The id of a driver in the cluster; empty until spark-submit has printed it, and beside the task."""
        return str(self._kubernetes_driver_pod or self._yarn_application_id or "")

    @property
    def last_sentence(self) -> str:
        """The last line that the job itself printed, unwrapped; lines of Spark's log are left out."""
        return self._mask_cmd([self._last_line]) if self._last_line else ""


def _end_group(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the process group, and SIGKILL three seconds later unless the group has ended."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
