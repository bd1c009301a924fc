"""Submit a job to Amazon EMR by the amazon provider: to an EMR Serverless application, or as a step of a cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.amazon.aws.hooks.emr import EmrHook, EmrServerlessHook
from airflow.providers.amazon.aws.links.emr import EmrServerlessS3LogsLink
from botocore.exceptions import BotoCoreError, ClientError

from exp_platform.airflow.submitters import Elsewhere, Ended, Job, NotSubmitted, asked_until, named, refuse_secrets

_STEP_FAILED = {"CANCELLED", "FAILED", "INTERRUPTED"}
_KILLED = 143  # as of a process that was told to end: a job that EMR cancelled may be tried again


@contextmanager
def _taken(job: Job) -> Iterator[None]:
    """Tell in one sentence why EMR did not take the job."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise NotSubmitted(f"EMR did not take {job.name}: {error}") from None


class EmrServerless:
    """One job run of an EMR Serverless application; the same attempt never starts a second one."""

    outlives_the_task = True

    def __init__(self, job: Job, sleep: Callable[[float], None] | None = None) -> None:
        self.job, self.there = job, Elsewhere(job)
        self.settings = job.project.profile.submit
        self.hook = EmrServerlessHook(aws_conn_id=self.settings.emr.connection, region_name=self.settings.emr.region)
        self._waits = {"sleep": sleep} if sleep else {}
        self.run_id: str | None = None

    def request(self) -> dict[str, Any]:
        """The parameters of StartJobRun."""
        emr, there = self.settings.emr, self.there
        conf = there.conf | named("spark.emr-serverless.driverEnv.", there.environment) | self.settings.conf
        overrides: dict[str, Any] = {
            "applicationConfiguration": [{"classification": "spark-defaults", "properties": conf}]
        }
        if emr.log_uri:
            overrides["monitoringConfiguration"] = {"s3MonitoringConfiguration": {"logUri": emr.log_uri}}
        request: dict[str, Any] = {
            "applicationId": emr.application_id,
            "clientToken": hashlib.sha256(self.job.attempt.encode()).hexdigest(),
            "executionRoleArn": emr.execution_role,
            "name": self.job.key,
            "jobDriver": {"sparkSubmit": {"entryPoint": there.application, "entryPointArguments": there.arguments}},
            "configurationOverrides": overrides,
        }
        if self.job.timeout:
            request["executionTimeoutMinutes"] = max(5, int(self.job.timeout.total_seconds() // 60))
        return request

    def submit(self) -> str:
        """Start the job run; an application that sleeps is started by EMR."""
        request = self.request()
        refuse_secrets(self.job.project, [json.dumps(request)])
        with _taken(self.job):
            self.run_id = str(self.hook.conn.start_job_run(**request)["jobRunId"])
        return self.run_id

    def wait(self) -> Ended:
        """Ask for the state of the job run until it has ended."""
        return asked_until(self._ended, self.settings.poll_seconds, **self._waits)

    def _ended(self) -> Ended | None:
        run = self.hook.conn.get_job_run(applicationId=self.settings.emr.application_id, jobRunId=self.run_id)["jobRun"]
        if run["state"] in self.hook.JOB_SUCCESS_STATES:
            return self.there.ended(0, "", self.log_link)
        if run["state"] not in ("FAILED", "CANCELLED"):
            return None
        code = _KILLED if run["state"] == "CANCELLED" else 1
        return self.there.ended(code, f"EMR: {run['state']}: {run.get('stateDetails', '')}", self.log_link)

    def cancel(self) -> None:
        """Cancel the job run, which ends its driver and executors."""
        if self.run_id:
            self.hook.conn.cancel_job_run(applicationId=self.settings.emr.application_id, jobRunId=self.run_id)

    @property
    def log_link(self) -> str:
        """The page of the driver's log in the console of S3."""
        emr = self.settings.emr
        if self.settings.log_url:
            return self.settings.log_url.replace("{id}", self.run_id or "")
        if not emr.log_uri or not self.run_id:
            return ""
        link = EmrServerlessS3LogsLink()
        return str(
            link.format_link(
                aws_domain=link.get_aws_domain(self.hook.conn_partition),
                region_name=self.hook.conn_region_name,
                log_uri=emr.log_uri,
                application_id=emr.application_id,
                job_run_id=self.run_id,
            )
        )


class EmrStep:
    """One step of an EMR cluster: spark-submit on YARN, the driver in the cluster."""

    outlives_the_task = True

    def __init__(self, job: Job, sleep: Callable[[float], None] | None = None) -> None:
        self.job, self.there = job, Elsewhere(job)
        self.settings = job.project.profile.submit
        self.hook = EmrHook(
            emr_conn_id=None, aws_conn_id=self.settings.emr.connection, region_name=self.settings.emr.region
        )
        self._waits = {"sleep": sleep} if sleep else {}
        self.step_id: str | None = None

    def step(self) -> dict[str, Any]:
        """The step as AddJobFlowSteps takes it."""
        there = self.there
        conf = there.conf | named("spark.yarn.appMasterEnv.", there.environment) | self.settings.conf
        words = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
        submit = ["spark-submit", "--deploy-mode", "cluster", "--name", self.job.key, *words]
        return {
            "Name": self.job.key,
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*submit, there.application, *there.arguments]},
        }

    def submit(self) -> str:
        """Add the step to the cluster."""
        step = self.step()
        refuse_secrets(self.job.project, step["HadoopJarStep"]["Args"])
        emr = self.settings.emr
        with _taken(self.job):
            ids = self.hook.add_job_flow_steps(str(emr.cluster_id), [step], execution_role_arn=emr.execution_role)
        self.step_id = str(ids[0])
        return self.step_id

    def wait(self) -> Ended:
        """Ask for the state of the step until it has ended."""
        return asked_until(self._ended, self.settings.poll_seconds, **self._waits)

    def _ended(self) -> Ended | None:
        step = self.hook.conn.describe_step(ClusterId=self.settings.emr.cluster_id, StepId=self.step_id)["Step"]
        status = step["Status"]
        if status["State"] == "COMPLETED":
            return self.there.ended(0, "", self.log_link)
        if status["State"] not in _STEP_FAILED:
            return None
        details = status.get("FailureDetails", {})
        said = details.get("Message") or details.get("Reason") or status.get("StateChangeReason", {}).get("Message", "")
        code = 1 if status["State"] == "FAILED" else _KILLED
        return self.there.ended(code, f"EMR: {status['State']}: {said}", self.log_link)

    def cancel(self) -> None:
        """Cancel the step."""
        if self.step_id:
            self.hook.conn.cancel_steps(
                ClusterId=self.settings.emr.cluster_id,
                StepIds=[self.step_id],
                StepCancellationOption="SEND_INTERRUPT",
            )

    @property
    def log_link(self) -> str:
        """The step's folder of logs in the store, unless the profile names an address."""
        emr = self.settings.emr
        if self.settings.log_url:
            return self.settings.log_url.replace("{id}", self.step_id or "")
        if not emr.log_uri or not self.step_id:
            return ""
        return f"{emr.log_uri.rstrip('/')}/{emr.cluster_id}/steps/{self.step_id}/"
