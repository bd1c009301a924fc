"""Settings of executors on a cluster: they share no disk with the driver, so no path of the driver stands in them."""

from __future__ import annotations

from pathlib import Path

from exp_platform.config.load import Project
from exp_platform.lake.s3 import ca_file
from exp_platform.spark.catalog_settings import needs_aws
from exp_platform.spark.jars import CORE, OBJECT_STORE, jar_folder, jar_name
from exp_platform.spark.package import require_package
from exp_platform.spark.trust_store import EXECUTOR_NAME, trust_options, trust_store

# Without the second, a JVM never compiles a method beyond 8,000 bytes, and the spine's generated ones are larger.
JVM_OPTIONS = "-Duser.timezone=UTC -XX:-DontCompileHugeMethods"
UNPACKED = "exp_executor"  # the folder in an executor's working directory where Spark unpacks the package
# Executors read and write files; only the driver asks the catalog, by JDBC.
EXECUTOR_JARS = tuple(jar for jar in CORE if "iceberg" in jar)


def on_a_cluster(project: Project) -> bool:
    """True when executors are processes of their own."""
    return not project.profile.spark.master.startswith("local")


def executor_conf(project: Project) -> dict[str, str]:
    """Settings of executors; empty where the driver is the only one."""
    if not on_a_cluster(project):
        return {}
    spark = project.profile.spark
    sizes = {
        "spark.executor.memory": spark.executor_memory,
        "spark.executor.cores": spark.executor_cores,
        "spark.cores.max": spark.cores_max,
    }
    conf = {"spark.executor.extraJavaOptions": JVM_OPTIONS}
    if (trusted := trust_store(project)) is not None:
        # Spark puts both into each executor's working directory: one for its JVM, one for its Python.
        store = project.profile.object_store
        python = [ca_file(project)] if store is not None and store.ca_file else []
        conf["spark.files"] = ",".join([str(trusted), *python])
        conf["spark.executor.extraJavaOptions"] += f" {trust_options(EXECUTOR_NAME)}"
    conf |= {key: str(value) for key, value in sizes.items() if value is not None}
    return conf | _shipped(project)


def _shipped(project: Project) -> dict[str, str]:
    """The package and the jars that go to the executors with each application; empty where their image holds them."""
    if not project.profile.spark.executor_package:
        return {}
    package = project.resolve(project.profile.spark.executor_package)
    if "://" not in package:
        require_package(Path(package))
    wanted = (*EXECUTOR_JARS, *(OBJECT_STORE if needs_aws(project) else ()))
    return {
        "spark.archives": f"{package}#{UNPACKED}",
        "spark.jars": ",".join(str(jar_folder() / jar_name(jar)) for jar in wanted),
        "spark.executorEnv.PYTHONPATH": UNPACKED,
    }
