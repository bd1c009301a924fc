"""One way to a Spark session, for jobs, notebooks and tests: the catalog `iceberg` is ready, the clock is UTC."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project, load_project
from exp_platform.paths import clone_root
from exp_platform.spark.catalog_settings import needs_aws, s3a_conf, spark_catalog_conf
from exp_platform.spark.executors import JVM_OPTIONS, executor_conf, on_a_cluster
from exp_platform.spark.jars import CORE, OBJECT_STORE, jar_folder, require_jars
from exp_platform.spark.java import find_java_home
from exp_platform.spark.master import require_master
from exp_platform.spark.remembered import remember_functions
from exp_platform.spark.trust_store import trust_options, trust_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Small driver-only applications gain most of their time from these: see docs/decisions/0003-fast-start.md.
CLASS_ARCHIVE = Path(".setup") / "spark.jsa"
# Spark's own pattern lets the store's access key id and the credential of a REST catalog pass into the event log.
REDACTED = r"(?i)secret|password|token|credential|access[.-]?key"


def launch_conf(project: Project) -> dict[str, str]:
    """Settings that only count when the JVM starts; the operator passes them to spark-submit."""
    root = clone_root()
    options = f"-Dlog4j2.configurationFile=file:{root / 'configs' / 'log4j2.properties'} {JVM_OPTIONS}"
    archive = root / CLASS_ARCHIVE
    if archive.exists():
        options += f" -XX:SharedArchiveFile={archive} -Xshare:auto -Xlog:cds=off -Xlog:class+path=off"
    if (trusted := trust_store(project)) is not None:
        options += f" {trust_options(str(trusted))}"
    return {
        "spark.driver.extraClassPath": f"{jar_folder()}/*",
        "spark.driver.memory": project.profile.spark.driver_memory,
        "spark.driver.extraJavaOptions": options,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def session_conf(project: Project) -> dict[str, str]:
    """Settings of the session: SQL, the catalog, the object store, the executors. It holds secrets."""
    profile = project.profile
    conf = {
        "spark.redaction.regex": REDACTED,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        # See docs/decisions/0004-no-adaptive-execution.md.
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": str(profile.spark.shuffle_partitions),
        # Else each operation on a column asks the JVM four times, to name its line in an error's text.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.python.daemon.module": "exp_platform.spark.worker_daemon",
        # Unit rows go to NumPy in batches: larger ones cost less for each row.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
        "spark.sql.legacy.parquet.nanosAsLong": "false",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.warehouse.dir": str(clone_root() / "data" / "spark-warehouse"),
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    }
    conf |= s3a_conf(project)
    return conf | spark_catalog_conf(project) | executor_conf(project) | profile.spark.conf


def build_spark_session(app_name: str, config: str | Path | Project | None = None) -> SparkSession:
    """A session with the catalog `iceberg` ready; without a config it is $EXP_CONFIG, else the clone's dev.yaml."""
    project = config if isinstance(config, Project) else load_project(config, only=())
    require_jars(CORE, "make setup")
    if needs_aws(project):
        require_jars(OBJECT_STORE, "make setup-object-store")
    os.environ["JAVA_HOME"] = find_java_home()
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if on_a_cluster(project):
        os.environ["PYSPARK_PYTHON"] = project.profile.spark.executor_python
        require_master(project.profile.spark.master)
    else:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")

    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app_name)
    if "SPARK_ENV_LOADED" not in os.environ:  # under spark-submit the operator or the command line names the master
        builder = builder.master(project.profile.spark.master)
    started_here = _start_jvm(project)
    conf = session_conf(project) | (launch_conf(project) if started_here else {})
    for key, value in conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    remember_functions(session)
    _write_no_checksum_files(session)
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):  # they print each error with its whole stack
        logging.getLogger(name).disabled = True
    return session


def _start_jvm(project: Project) -> bool:
    """Start this process's JVM, unless there is one; True when it was started.

    Whatever the JVM is started with can be read by every user of the machine (`ps`), so that it gets the settings of
    `launch_conf` alone. Those of the session, secrets among them, follow through its authenticated socket.
    """
    from pyspark import SparkConf, SparkContext

    if SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ:
        return False
    conf = SparkConf().setMaster(project.profile.spark.master)
    SparkContext._ensure_initialized(conf=conf.setAll(list(launch_conf(project).items())))
    return True


def _write_no_checksum_files(session: SparkSession) -> None:
    """Let Hadoop write no `.crc` beside each file on a local disk; for each it starts a process that sets its rights.

    PyIceberg and object stores have no such files. Those beside files that PyIceberg deletes would stay for good.
    """
    context: Any = session.sparkContext
    context._jvm.org.apache.hadoop.fs.FileSystem.getLocal(context._jsc.hadoopConfiguration()).setWriteChecksum(False)
