"""A Spark session for each small lake, under the one Spark that all tests of a worker share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.spark.catalog_settings import spark_catalog_conf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from exp_platform.config.load import Project

# Of a plan that runs once over a few rows, generating and compiling its code is the dearest part.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


def session_for(
    spark: SparkSession, project: Project, *, compiled: bool = False, broadcast: bool = True
) -> SparkSession:
    """A session that knows the project's catalog as `iceberg`.

    Its plans are those of production; they are interpreted unless `compiled`. Without `broadcast` tables are joined as
    if they were too large to send around.
    """
    session = spark.newSession()
    settings = spark_catalog_conf(project)
    if not compiled:
        settings |= INTERPRETED
        session._jvm.java.lang.System.setProperty("spark.testing", "true")  # type: ignore[union-attr]  # else NO_CODEGEN is ignored
    if not broadcast:
        settings |= {"spark.sql.autoBroadcastJoinThreshold": "-1"}
    for key, value in settings.items():
        session.conf.set(key, value)
    return session
