"""How Airflow submits a stage that needs a Spark session: the key `submit` of a profile."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from exp_platform.config.models.base import Model


class EmrSettings(Model):
    """Where Amazon EMR runs a job; what it may read and write is decided by the role."""

    application_id: str | None = Field(default=None, description="emr-serverless: the application that runs jobs.")
    cluster_id: str | None = Field(default=None, description="emr-steps: the cluster that runs steps, such as j-ABC.")
    execution_role: str | None = Field(
        default=None, description="ARN of the role that a job takes; required by emr-serverless."
    )
    log_uri: str | None = Field(
        default=None, description="s3:// folder of the drivers' logs; left out: what the application or cluster has."
    )
    connection: str = Field(default="aws_default", description="Airflow connection with the credentials and region.")
    region: str | None = Field(default=None, description="Region; left out: that of the connection.")


class KubernetesSettings(Model):
    """Pods of the driver and of executors; the connection `spark_default` names the cluster (`k8s://https://…`)."""

    image: str | None = Field(default=None, description="Image of the driver and of executors; required.")
    namespace: str = Field(default="default", description="Namespace of the pods.")
    service_account: str | None = Field(
        default=None, description="Service account of the driver, which makes the executors' pods."
    )
    secrets: dict[str, str] = Field(
        default={},
        description="Environment variable of the driver: `secret:key` of a Kubernetes secret that fills it.",
    )


class SubmitSettings(Model):
    """Who runs the driver of a stage; the exit code and the last sentence of a driver elsewhere come by `outcomes`."""

    by: Literal["spark-submit", "emr-serverless", "emr-steps", "kubernetes"] = Field(
        default="spark-submit", description="What submits a stage that needs a Spark session."
    )
    deploy_mode: Literal["client", "cluster"] = Field(
        default="client",
        description="spark-submit: the driver runs beside the task (client) or on YARN (cluster); the others: cluster.",
    )
    home: str = Field(
        default="/opt/platform", description="Folder of the platform where the driver runs, if not beside the task."
    )
    outcomes: str | None = Field(
        default=None,
        description="s3a:// folder where a driver that runs elsewhere leaves its exit code and last sentence; required "
        "for those.",
    )
    environment: dict[str, str] = Field(
        default={},
        description="Environment of a driver elsewhere; never a secret, but a reference that is resolved there.",
    )
    conf: dict[str, str] = Field(default={}, description="Further Spark settings of a driver elsewhere.")
    log_url: str | None = Field(
        default=None, description="Address of a driver's log, {id} in it is the job's; left out: EMR's own, else none."
    )
    poll_seconds: float = Field(
        default=15, gt=0, description="Seconds between two questions whether the job has ended."
    )
    emr: EmrSettings = Field(default=EmrSettings(), description="Where EMR runs a job.")
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), description="Pods on Kubernetes.")

    @property
    def elsewhere(self) -> bool:
        """True when the driver of a stage does not run beside the task."""
        return self.by != "spark-submit" or self.deploy_mode == "cluster"

    @model_validator(mode="after")
    def _complete(self) -> SubmitSettings:
        needed = {"outcomes": self.outcomes} if self.elsewhere else {}
        if self.by == "emr-serverless":
            needed |= {"emr.application_id": self.emr.application_id, "emr.execution_role": self.emr.execution_role}
        elif self.by == "emr-steps":
            needed |= {"emr.cluster_id": self.emr.cluster_id}
        elif self.by == "kubernetes":
            needed |= {"kubernetes.image": self.kubernetes.image}
        if missing := [key for key, value in needed.items() if not value]:
            how = f"{self.by} in deploy_mode cluster" if self.by == "spark-submit" else self.by
            raise PydanticCustomError("submit", "{how} needs {keys}", {"how": how, "keys": " and ".join(missing)})
        return self
