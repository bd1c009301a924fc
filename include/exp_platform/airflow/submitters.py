"""The seam between a task and whoever runs its Spark application: submit, wait, cancel, and where the log is.

The profile's `submit.by` chooses. Whoever runs the driver, a task sees the exit code of the job and its last sentence:
from the job's output when the driver runs beside the task, else from the file that the job leaves (`last_word`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.pipelines import last_word
from exp_platform.spark import by_hand
from exp_platform.spark.executors import JVM_OPTIONS
from exp_platform.spark.session import REDACTED

LOST_ANSWERS = 5  # questions in a row that a cluster may leave unanswered


@dataclass(frozen=True)
class Job:
    """One attempt of a task: `spark_jobs/<name>.py` with its arguments, of which the first is `--config=<profile>`."""

    project: Project
    name: str
    file: Path  # beside the task
    arguments: tuple[str, ...]
    attempt: str  # differs between any two tries of any two tasks
    timeout: timedelta | None = None

    @property
    def key(self) -> str:
        """A name of the attempt in letters, digits and hyphens: of its file, its pod, its token."""
        word = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{word}-{hashlib.sha256(self.attempt.encode()).hexdigest()[:24]}"

    @property
    def word_place(self) -> str:
        """The file in which the job leaves its last word when its driver runs elsewhere."""
        return last_word.place_of(self.project, self.key)


@dataclass(frozen=True)
class Ended:
    """How a job ended: 0 when it is done, else the exit code that decides on a retry, and one sentence."""

    exit_code: int
    sentence: str = ""


class NotSubmitted(ExpError):
    """A cluster did not take the job; another try may find it willing."""


class Submitter(Protocol):
    """Runs one job. `submit` is called once; `cancel` may be called at any time, also before it."""

    @property
    def outlives_the_task(self) -> bool:
        """True when the driver goes on after the task's process was killed, unless it is cancelled."""

    def submit(self) -> str:
        """Start the job and return its id, or words for one that runs beside the task."""

    def wait(self) -> Ended:
        """Wait for the end of the job."""

    def cancel(self) -> None:
        """End the job and everything that it has started."""

    @property
    def log_link(self) -> str:
        """The address of the driver's log; empty when it is the task's own."""


@dataclass(frozen=True)
class Elsewhere:
    """A job as a driver in the platform's image sees it: no path and no secret of this machine stands in it."""

    job: Job

    @property
    def home(self) -> str:
        """The folder of the platform where the driver runs."""
        return self.job.project.profile.submit.home.rstrip("/")

    @property
    def application(self) -> str:
        """The job's file in the image."""
        return f"local://{self.home}/spark_jobs/{self.job.name}.py"

    @property
    def arguments(self) -> list[str]:
        """The job's arguments, with the profile where the image has it."""
        project = self.job.project
        profile = project.path.resolve().relative_to(project.root.resolve()).as_posix()
        return [f"--config={self.home}/{profile}", *self.job.arguments[1:]]

    @property
    def environment(self) -> dict[str, str]:
        """The driver's environment; a driver that lacks jars says so, and never submits itself once more."""
        own = {last_word.VARIABLE: self.job.word_place, by_hand.AGAIN: "1"}
        return self.job.project.profile.submit.environment | own

    @property
    def conf(self) -> dict[str, str]:
        """Settings that count before the driver reads the profile; the session's own follow there."""
        spark, jars = self.job.project.profile.spark, f"{self.home}/.jars/*"
        sizes = {"spark.executor.memory": spark.executor_memory, "spark.executor.cores": spark.executor_cores}
        log = f"-Dlog4j2.configurationFile=file:{self.home}/configs/log4j2.properties"
        return {
            "spark.driver.memory": spark.driver_memory,
            "spark.driver.extraClassPath": jars,
            "spark.executor.extraClassPath": jars,
            "spark.driver.extraJavaOptions": f"{log} {JVM_OPTIONS}",
            "spark.pyspark.python": spark.executor_python,
            "spark.redaction.regex": REDACTED,
            **{key: str(value) for key, value in sizes.items() if value is not None},
        }

    def ended(self, exit_code: int, said: str, link: str) -> Ended:
        """The job's last word, else what the cluster says, which is a fault that may be tried again."""
        word = last_word.take(self.job.project, self.job.word_place)
        if exit_code == 0 or word is not None:
            return Ended(word.exit_code, word.sentence) if word else Ended(0)
        where = f"; its log: {link}" if link else ""
        return Ended(exit_code, f"{self.job.name} ended without a word of its own ({said}){where}")


def attempt_of(context: Any) -> str:
    """A name that no other try of any task has; `airflow dags test` and tests know less of a task than a scheduler."""
    ti = context["ti"]
    parts = ("dag_id", "run_id", "task_id", "map_index", "try_number")
    return "/".join(str(getattr(ti, part, "")) for part in parts)


def named(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """The values under settings that begin with a prefix.

    >>> named("spark.yarn.appMasterEnv.", {"TZ": "UTC"})
    {'spark.yarn.appMasterEnv.TZ': 'UTC'}
    """
    return {prefix + key: value for key, value in values.items()}


def refuse_secrets(project: Project, rendered: Iterable[str]) -> None:
    """Refuse a request that holds a secret of the profile: who may look at the cluster's jobs could read it."""
    profile = project.profile
    store = profile.object_store
    secrets = {
        "catalog.password": profile.catalog.password,
        "object_store.access_key": store.access_key if store else None,
        "object_store.secret_key": store.secret_key if store else None,
    }
    text = "\n".join(rendered)
    for key, value in secrets.items():
        if value and value in text:
            raise ConfigError(
                f"submit: the value of {key} would stand in the request to the cluster; name a secret of the cluster "
                "in submit.environment or submit.kubernetes.secrets instead"
            )


def asked_until(ask: Callable[[], Ended | None], seconds: float, sleep: Callable[[float], None] = time.sleep) -> Ended:
    """Ask every so many seconds whether a job has ended; a cluster may fail to answer a few times in a row."""
    lost = 0
    while True:
        try:
            ended = ask()
            lost = 0
        except Exception as error:
            lost += 1
            if lost > LOST_ANSWERS:
                said = (str(error).strip().splitlines() or [""])[0]
                return Ended(1, f"the cluster does not answer whether the job has ended ({said}); it may still run")
            ended = None
        if ended is not None:
            return ended
        sleep(seconds)
