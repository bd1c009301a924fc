"""Run one job as one Spark application, and turn its exit code into success, failure or retry."""

from __future__ import annotations

import os
import signal
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from exp_platform.airflow.submit import spark_home
from exp_platform.errors import ConfigError, ContractViolation, FencedConflict, Superseded, cause_first, wrapped

if TYPE_CHECKING:
    from airflow.sdk import Context

    from exp_platform.airflow.submitters import Job, Submitter

POOL = "spark"
POOL_WITHOUT_SESSION = "no_session"  # stages that only do arithmetic never wait for Spark's slots
FAILURE_KEY = "failure"  # XCom key of a stage's failure, which the alert and the memo read
_NO_RETRY = {ConfigError.exit_code, ContractViolation.exit_code, Superseded.exit_code}


class StageFailure(AirflowException):
    """A job ended with an exit code after which a retry may succeed."""

    def __init__(self, exit_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class StageRetryPolicy(RetryPolicy):
    """Retry a fenced conflict once after 5 seconds, and every other fault by the task's own settings."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """The decision to retry or fail; the attempt is counted from max_tries, because clearing a task raises it."""
        if getattr(exception, "exit_code", None) != FencedConflict.exit_code:
            return RetryDecision.default()
        retries = context["task"].retries or 0 if context else max_tries
        attempt = retries - (max_tries - try_number)
        if attempt > 1:
            return RetryDecision.fail(
                "two fenced conflicts in a row: another run or a compaction keeps changing this experiment"
            )
        return RetryDecision.retry(
            timedelta(seconds=5), "another writer changed this experiment's rows: the stage starts again"
        )

    def serialize(self) -> dict[str, Any]:
        """The policy as a dictionary; it has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> StageRetryPolicy:
        """The policy from a dictionary; it has no settings."""
        return cls()


def sentence_of(job: str, exit_code: int, sentence: str) -> str:
    """One sentence on a job that failed: its own last one, except that a signal is told before what it interrupted."""
    said = sentence or f"{job} printed nothing; see the lines above"
    if exit_code in _NO_RETRY:
        return said
    if exit_code - 128 in set(signal.Signals):
        name = signal.Signals(exit_code - 128).name
        return f"{job} was ended by {name} (often: no memory left, or the task was stopped). Its last line: {said}"
    return said


def failure_of(job: str, exit_code: int, sentence: str) -> AirflowException:
    """The exception for a job's exit code, wrapped for the log; its type decides whether Airflow retries."""
    said = wrapped(sentence_of(job, exit_code, sentence))
    if exit_code in _NO_RETRY:
        return AirflowFailException(said)
    return StageFailure(exit_code, f"{said}\n  exit code {exit_code} of {job}")


class SparkJobOperator(SparkSubmitOperator):
    """Submits `spark_jobs/<job>.py` with the arguments that `job_arguments` returns when the task runs.

    By spark-submit, as its base, unless the profile names another submitter (`submit.by`).
    """

    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        job: str,
        job_folder: str | Path,
        needs_spark: bool = True,
        pool: str = POOL,
        retries: int = 3,
        execution_timeout: timedelta | None = timedelta(hours=6),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            application=str(Path(job_folder) / f"{job}.py"),
            name=job,
            spark_binary=str(spark_home() / "bin" / "spark-submit"),
            pool=pool,
            retries=retries,
            retry_delay=timedelta(seconds=30),
            retry_exponential_backoff=2,
            max_retry_delay=timedelta(minutes=15),
            retry_policy=StageRetryPolicy(),
            execution_timeout=execution_timeout,
            durable=False,
            **kwargs,
        )
        self.job = job
        self.needs_spark = needs_spark
        self.log_link = ""  # set when the task runs; the button to the driver's log reads it
        self._submitter: Submitter | None = None

    @abstractmethod
    def job_arguments(self, context: Context) -> tuple[str, list[str]]:
        """The profile, which decides how the JVM is started, and the command line of the job."""

    def execute(self, context: Context) -> None:
        """Submit the job, wait for it, and turn its exit code into success, failure or retry."""
        from exp_platform.airflow.submitters import Ended, NotSubmitted

        config, arguments = self.job_arguments(context)
        done = threading.Event()
        _watch_supervisor(done, self.cancel_elsewhere)
        try:
            submitter = self._submitter = self._chosen(config, arguments, context)
            job_id = submitter.submit()
            if self.log_link_of(submitter):
                self.log.info("%s runs elsewhere as %s; its log: %s", self.job, job_id, self.log_link)
            ended = submitter.wait()
            self.log_link_of(submitter)
        except ConfigError as error:
            raise AirflowFailException(wrapped(cause_first(str(error)))) from None
        except NotSubmitted as error:
            ended = Ended(error.exit_code, str(error))
        finally:
            done.set()
        if ended.exit_code == 0:
            return
        said = sentence_of(self.job, ended.exit_code, ended.sentence)
        context["ti"].xcom_push(FAILURE_KEY, {"stage": self.job, "exit_code": ended.exit_code, "sentence": said})
        raise failure_of(self.job, ended.exit_code, ended.sentence)

    def _chosen(self, config: str, arguments: list[str], context: Context) -> Submitter:
        from exp_platform.airflow.submitters import Job, attempt_of
        from exp_platform.config.load import load_project

        file, limit = Path(self.application), self.execution_timeout
        project = load_project(config, only=())
        job = Job(project, self.job, file, tuple(arguments), attempt_of(context), limit)
        return submitter_of(job, needs_spark=self.needs_spark, binary=str(self._spark_binary))

    def log_link_of(self, submitter: Submitter) -> str:
        """Keep the address of the driver's log for the button on the task's page, and return it."""
        self.log_link = submitter.log_link
        return self.log_link

    def cancel_elsewhere(self) -> None:
        """Cancel a job whose driver does not end with this process; one beside the task ends with its lifeline."""
        if self._submitter is not None and self._submitter.outlives_the_task:
            self._submitter.cancel()

    def on_kill(self) -> None:
        """End the Spark application together with its task."""
        if self._submitter is not None:
            self._submitter.cancel()


def submitter_of(job: Job, *, needs_spark: bool = True, binary: str = "") -> Submitter:
    """The submitter that the profile chooses; arithmetic without a session always runs beside the task."""
    settings = job.project.profile.submit
    if settings.elsewhere and needs_spark:
        master = job.project.profile.spark.master
        if master.startswith("local"):  # the driver would look for no executors, and listen on loopback alone
            raise ConfigError(
                f"{job.project.path.name}: spark.master: found {master}; where submit.by is {settings.by}, the driver "
                "runs elsewhere and needs yarn or k8s://…"
            )
        if settings.by == "emr-serverless":
            from exp_platform.airflow.submit_by_emr import EmrServerless

            return EmrServerless(job)
        if settings.by == "emr-steps":
            from exp_platform.airflow.submit_by_emr import EmrStep

            return EmrStep(job)
        from exp_platform.airflow.submit_by_spark import InTheCluster, OnKubernetes

        return (OnKubernetes if settings.by == "kubernetes" else InTheCluster)(job, binary=binary)
    from exp_platform.airflow.submit_by_spark import BesideTheTask

    return BesideTheTask(job, needs_spark=needs_spark, binary=binary)


def _watch_supervisor(done: threading.Event, cancel: Callable[[], None]) -> None:
    """End this task and its Spark application when the task's supervisor is killed, which alone reports the result."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CommsDecoder

    if not isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), CommsDecoder):
        return  # `airflow dags test` has no supervisor, and its parent, a shell, may end before the command
    supervisor = os.getppid()

    def watch() -> None:
        while not done.wait(1.0):
            if os.getppid() != supervisor:
                with suppress(Exception):
                    cancel()
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="watch-supervisor").start()
