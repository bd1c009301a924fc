"""Submit a job by spark-submit: the driver beside the task, in a YARN cluster, or in a pod of Kubernetes."""

from __future__ import annotations

from exp_platform.airflow.submit import GuardedSparkSubmitHook, spark_home, submit_environment
from exp_platform.airflow.submitters import Elsewhere, Ended, Job, asked_until, named, refuse_secrets
from exp_platform.spark.java import find_java_home
from exp_platform.spark.session import launch_conf

CONNECTION = "spark_default"
# A stage without a session ends before the optimising compiler would pay off.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


class BesideTheTask:
    """spark-submit in client mode: the driver is a child of the task, its output is the task's log."""

    log_link = ""
    outlives_the_task = False

    def __init__(self, job: Job, *, needs_spark: bool = True, binary: str = "") -> None:
        conf = dict(launch_conf(job.project))
        if not needs_spark:
            options = conf.get("spark.driver.extraJavaOptions", "")
            conf |= {"spark.driver.memory": "512m", "spark.driver.extraJavaOptions": f"{_SHORT_LIVED} {options}"}
        self.job = job
        self.hook = GuardedSparkSubmitHook(
            conf=conf,
            conn_id=CONNECTION,
            name=job.name,
            application_args=list(job.arguments),
            process_environment=submit_environment(find_java_home()),
            spark_binary=binary or str(spark_home() / "bin" / "spark-submit"),
            deploy_mode="client" if needs_spark else None,
        )

    def submit(self) -> str:
        """Start spark-submit."""
        self.hook.start(str(self.job.file))
        return "spark-submit"

    def wait(self) -> Ended:
        """Read the job's output until it ends; its last line is the sentence."""
        return Ended(self.hook.finish(), self.hook.last_sentence)

    def cancel(self) -> None:
        """End the driver together with its whole process group."""
        self.hook.on_kill()


class InTheCluster:
    """spark-submit in cluster mode on YARN: spark-submit waits, the driver leaves its last word in the store."""

    outlives_the_task = True

    def __init__(self, job: Job, *, binary: str = "") -> None:
        self.job, self.there = job, Elsewhere(job)
        self.settings = job.project.profile.submit
        self.hook = GuardedSparkSubmitHook(
            conf=self.conf(),
            conn_id=CONNECTION,
            name=job.name,
            application_args=self.there.arguments,
            process_environment=submit_environment(find_java_home()),
            spark_binary=binary or str(spark_home() / "bin" / "spark-submit"),
            deploy_mode="cluster",
        )

    def conf(self) -> dict[str, str]:
        """The settings that spark-submit is given."""
        environment = named("spark.yarn.appMasterEnv.", self.there.environment)
        quiet = {"spark.yarn.report.interval": "30s", "spark.yarn.submit.waitAppCompletion": "true"}
        return self.there.conf | environment | quiet | self.settings.conf

    def submit(self) -> str:
        """Start spark-submit, which prints the driver's id when the cluster has taken it."""
        refuse_secrets(self.job.project, [f"{key}={value}" for key, value in self.hook._conf.items()])
        self.hook.start(self.there.application)
        return self.job.key

    def wait(self) -> Ended:
        """Wait for spark-submit, then for the job's last word."""
        code = self.hook.finish()
        said = f"spark-submit: exit code {code}"
        return asked_until(lambda: self.there.ended(code, said, self.log_link), self.settings.poll_seconds)

    def cancel(self) -> None:
        """End spark-submit and the driver in the cluster."""
        self.hook.on_kill()

    @property
    def log_link(self) -> str:
        """The address of the driver's log, as the profile builds it from the driver's id."""
        return (self.settings.log_url or "").replace("{id}", self.hook.driver_id)


class OnKubernetes(InTheCluster):
    """spark-submit to a Kubernetes cluster: a pod for the driver, which makes those of the executors."""

    @property
    def pod(self) -> str:
        """The name of the driver's pod; a second one of the same attempt is refused by the cluster."""
        return f"{self.job.key}-driver"

    def submit(self) -> str:
        """Start spark-submit, which makes the pod."""
        self.hook.take_driver(self.pod)
        super().submit()
        return self.pod

    def conf(self) -> dict[str, str]:
        """The settings that spark-submit is given; secrets are names that the cluster resolves."""
        pods = self.settings.kubernetes
        conf = self.there.conf | {
            "spark.kubernetes.container.image": pods.image or "",
            "spark.kubernetes.namespace": pods.namespace,
            "spark.kubernetes.driver.pod.name": self.pod,
            "spark.kubernetes.submission.waitAppCompletion": "true",
            "spark.kubernetes.report.interval": "30s",
        }
        if pods.service_account:
            conf["spark.kubernetes.authenticate.driver.serviceAccountName"] = pods.service_account
        conf |= named("spark.kubernetes.driverEnv.", self.there.environment)
        return conf | named("spark.kubernetes.driver.secretKeyRef.", pods.secrets) | self.settings.conf
