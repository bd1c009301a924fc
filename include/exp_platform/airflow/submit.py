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
_LOG_LINE = re.compile(r"\d\d:\d\d:\d\d [A-Z]+ ")  # a line of Spark's log, see configs/log4j2.properties
_JVM_GREETING = "WARNING: Using incubator modules"  # printed by every JVM that Spark starts
_GRACE_SECONDS = 3.0
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
        return resolved

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

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Run spark-submit to its end; its standard input, the guard's lifeline, closes with this process."""
        return super().submit(application, stdin=subprocess.PIPE, start_new_session=True, **kwargs)

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._shown(itr))

    def _shown(self, lines: Iterator[str]) -> Iterator[str]:
        """The job's lines as the task's log shows them: without the JVM's greeting, long ones wrapped."""
        for line in lines:
            if line.startswith(_JVM_GREETING):
                continue
            if not line.strip() or _LOG_LINE.match(line):
                yield line
                continue
            self._last_line = line.strip()
            yield from wrapped(line).splitlines() if len(line) > LONGEST_LINE else [line]

    def on_kill(self) -> None:
        """End the whole process group, then the application on a cluster (YARN, Kubernetes)."""
        process = self._submit_sp
        if process is not None and process.poll() is None:
            _end_group(process)
        super().on_kill()

    @property
    def exit_code(self) -> int | None:
        """The exit code of the job; None while it runs."""
        return None if self._submit_sp is None else self._submit_sp.returncode

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
