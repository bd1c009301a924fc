"""A stage started by hand with a bare `spark-submit` gets the JVM that the operator would start.

Class path, heap and class archive are settled when a JVM starts. Where they are missing the stage is submitted once
more, with what the profile says, and this process waits for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from exp_platform.spark.java import find_java_home
from exp_platform.spark.session import launch_conf

if TYPE_CHECKING:
    from exp_platform.config.load import Project

CATALOG_CLASS = "org.apache.iceberg.spark.SparkCatalog"
AGAIN = "EXP_SUBMITTED_AGAIN"
# What spark-submit works out for itself.
_ITS_OWN = ("spark.app.", "spark.submit.", "spark.files", "spark.driver.extraClassPath")


def submit_again_if_bare(project: Project) -> int | None:
    """The exit code of the stage when it had to be submitted once more; None when this JVM will do."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ or AGAIN in os.environ:
        return None
    given = _given_to_a_bare_jvm()
    if given is None:
        return None
    conf = launch_conf(project) | {k: v for k, v in given.items() if not k.startswith(_ITS_OWN)}
    command = [str(Path(os.environ["SPARK_HOME"]) / "bin" / "spark-submit")]  # spark-submit itself has set it
    for key, value in conf.items():
        command += ["--conf", f"{key}={value}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYSPARK_GATEWAY")}
    environment |= {AGAIN: "1", "JAVA_HOME": find_java_home()}
    return subprocess.run([*command, *sys.argv], env=environment, check=False).returncode


def _given_to_a_bare_jvm() -> dict[str, str] | None:
    """The settings that spark-submit was given, when the JVM that it started does not know the catalog."""
    from py4j.protocol import Py4JJavaError
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    jvm = SparkContext._jvm
    assert jvm is not None
    try:
        jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass(CATALOG_CLASS)
    except Py4JJavaError:
        return dict(SparkConf().getAll())
    return None
