"""Spark's settings for the catalog `iceberg`, the same lake that `lake/catalog.py` opens for PyIceberg."""

from __future__ import annotations

from exp_platform.config.load import Project
from exp_platform.lake.catalog import CATALOG
from exp_platform.lake.catalog_properties import BUSY_SECONDS, java_rest_properties, on_the_store, warehouse_of
from exp_platform.lake.s3 import store_properties


def spark_catalog_conf(project: Project) -> dict[str, str]:
    """Settings that open the project's catalog in Spark and allow storage-partitioned joins between its tables."""
    settings = project.profile.catalog
    own = {"warehouse": warehouse_of(project), "cache-enabled": "false"}  # a cache never sees other processes' commits
    if settings.type == "rest":
        own |= {"type": "rest", **java_rest_properties(project)}
    else:
        own |= {"type": "jdbc", "jdbc.schema-version": "V1"}
    if settings.type == "sqlite":
        path = project.resolve(settings.uri)
        own["uri"] = f"jdbc:sqlite:{path}?journal_mode=WAL&busy_timeout={BUSY_SECONDS * 1000}"
    elif settings.type == "postgres":
        own["uri"] = f"jdbc:postgresql://{settings.uri}"
        own |= {f"jdbc.{k}": v for k, v in (("user", settings.user), ("password", settings.password)) if v}
    own |= _store_properties(project)
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


def _store_properties(project: Project) -> dict[str, str]:
    store = project.profile.object_store
    if store is None or not on_the_store(project):
        return {}
    own = store_properties(project) | {
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.path-style-access": str(store.by_path).lower(),
        "client.region": store.region,
    }
    return own | ({"s3.sse.type": "kms", "s3.sse.key": store.kms_key} if store.kms_key else {})


def s3a_conf(project: Project) -> dict[str, str]:
    """Settings of `s3a://`, by which Spark reads raw events and writes generated ones."""
    store = project.profile.object_store
    if store is None:
        return {}
    own = {
        "endpoint": store.endpoint,
        "endpoint.region": store.region,
        "access.key": store.access_key,
        "secret.key": store.secret_key,
        "session.token": store.session_token,
        "path.style.access": str(store.by_path).lower(),
        "connection.ssl.enabled": str(not (store.endpoint or "").startswith("http:")).lower(),
    }
    if store.session_token:
        own["aws.credentials.provider"] = "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
    elif not store.access_key:  # the chain that Iceberg's Java library takes too
        own["aws.credentials.provider"] = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
    if store.kms_key:
        own |= {"encryption.algorithm": "SSE-KMS", "encryption.key": store.kms_key}
    return {f"spark.hadoop.fs.s3a.{key}": value for key, value in own.items() if value is not None}


def needs_aws(project: Project) -> bool:
    """True when Spark needs the jars of the AWS SDK: for a store, or to sign requests to a catalog."""
    settings = project.profile.catalog
    signs = settings.type == "rest" and settings.signed_by == "sigv4"
    return signs or project.profile.object_store is not None
