"""Spark's settings for the catalog `iceberg`, the same lake that `lake/catalog.py` opens for PyIceberg."""

from __future__ import annotations

from exp_platform.config.load import Project
from exp_platform.lake.catalog import BUSY_SECONDS, CATALOG, object_store_properties, warehouse_of


def spark_catalog_conf(project: Project) -> dict[str, str]:
    """Settings that open the project's catalog in Spark and allow storage-partitioned joins between its tables."""
    settings = project.profile.catalog
    own = {"warehouse": warehouse_of(project), "cache-enabled": "false"}  # a cache never sees other processes' commits
    if settings.type == "rest":
        own |= {"type": "rest", "uri": settings.uri}
        if settings.user and settings.password:
            own["credential"] = f"{settings.user}:{settings.password}"
    else:
        own |= {"type": "jdbc", "jdbc.schema-version": "V1"}
    if settings.type == "sqlite":
        path = project.resolve(settings.uri)
        own["uri"] = f"jdbc:sqlite:{path}?journal_mode=WAL&busy_timeout={BUSY_SECONDS * 1000}"
    elif settings.type == "postgres":
        own["uri"] = f"jdbc:postgresql://{settings.uri}"
        own |= {f"jdbc.{k}": v for k, v in (("user", settings.user), ("password", settings.password)) if v}
    store = project.profile.object_store
    if store is not None:
        own |= object_store_properties(project) | {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            "s3.path-style-access": str(store.path_style).lower(),
            "client.region": store.region,
        }
    return {
        f"spark.sql.catalog.{CATALOG}": "org.apache.iceberg.spark.SparkCatalog",
        **{f"spark.sql.catalog.{CATALOG}.{key}": value for key, value in own.items()},
        "spark.sql.iceberg.planning.preserve-data-grouping": "true",
        "spark.sql.sources.v2.bucketing.enabled": "true",
        "spark.sql.sources.v2.bucketing.pushPartValues.enabled": "true",
        "spark.sql.sources.v2.bucketing.allowJoinKeysSubsetOfPartitionKeys.enabled": "true",
        "spark.sql.requireAllClusterKeysForCoPartition": "false",
        # Must stay off: partially clustered distribution gives wrong results.
        "spark.sql.sources.v2.bucketing.partiallyClusteredDistribution.enabled": "false",
    }
