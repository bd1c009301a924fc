"""One block of a profile is the same catalog, store and identity for Spark and for PyIceberg."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.config.models import CatalogSettings, ObjectStoreSettings
from exp_platform.errors import ConfigError
from exp_platform.lake import s3
from exp_platform.lake.catalog_properties import location_of, pyiceberg_properties, warehouse_of
from exp_platform.lake.s3 import FILE_IO
from exp_platform.operations.scratch import beside
from exp_platform.spark.catalog_settings import needs_aws, s3a_conf, spark_catalog_conf
from exp_platform.spark.session import REDACTED, session_conf

REST = {"type": "rest", "uri": "https://catalog/api/", "warehouse": "s3://lake/x"}
STORE = {"endpoint": "https://store:9000", "access_key": "key", "secret_key": "hidden"}
NO_KEYS = {"endpoint": "https://store:9000"}
TABLE = "ops.run_claim"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("properties"))


def with_blocks(project: Project, catalog: dict[str, Any], store: dict[str, Any] | None = None) -> Project:
    blocks = {
        "catalog": CatalogSettings.model_validate(catalog),
        "object_store": None if store is None else ObjectStoreSettings.model_validate(store),
    }
    return replace(project, profile=project.profile.model_copy(update=blocks))


def both(project: Project) -> tuple[dict[str, Any], dict[str, str]]:
    """PyIceberg's properties and Spark's, the latter without their prefix."""
    conf = spark_catalog_conf(project)
    return pyiceberg_properties(project), {k.removeprefix("spark.sql.catalog.iceberg."): v for k, v in conf.items()}


def test_oauth2_names_the_address_of_its_tokens_on_both_sides(plain: Project) -> None:
    python, spark = both(with_blocks(plain, REST | {"user": "me", "password": "p", "scope": "all"}, STORE))
    for side in (python, spark):
        assert side["uri"] == "https://catalog/api"
        assert side["credential"] == "me:p"
        assert side["oauth2-server-uri"] == "https://catalog/api/v1/oauth/tokens"
        assert side["scope"] == "all"
    assert spark["rest.auth.type"] == "oauth2"
    assert "auth" not in python
    elsewhere = {"user": "me", "password": "p", "token_uri": "https://login/token"}
    assert {side["oauth2-server-uri"] for side in both(with_blocks(plain, REST | elsewhere))} == {"https://login/token"}


def test_a_bearer_token_is_sent_as_it_is_and_never_exchanged(plain: Project) -> None:
    python, spark = both(with_blocks(plain, REST | {"token": "t"}))
    assert python["token"] == spark["token"] == "t"
    assert (spark["rest.auth.type"], spark["token-refresh-enabled"]) == ("oauth2", "false")
    assert "credential" not in spark | python


def test_without_an_identity_no_header_is_sent(plain: Project) -> None:
    python, spark = both(with_blocks(plain, REST))
    assert python["auth"] == {"type": "noop"}
    assert spark["rest.auth.type"] == "none"


@pytest.mark.parametrize(
    ("catalog", "store", "key"),
    [
        ({"user": "own", "password": "own-secret"}, STORE, "own"),
        ({}, STORE, "key"),
        ({}, NO_KEYS, None),
        ({}, None, None),
    ],
)
def test_requests_are_signed_with_the_catalogs_keys_else_the_stores_else_those_of_the_machine(
    plain: Project, catalog: dict[str, str], store: dict[str, str] | None, key: str | None
) -> None:
    given = REST | {"auth": "sigv4", "signing_name": "s3tables", "signing_region": "eu-central-1", **catalog}
    project = with_blocks(plain, given, store)
    python, spark = both(project)
    assert python["rest.sigv4-enabled"] == "true"
    assert spark["rest.auth.type"] == "sigv4"
    assert spark["rest.auth.sigv4.delegate-auth-type"] == "none"
    for side in (python, spark):
        assert (side["rest.signing-name"], side["rest.signing-region"]) == ("s3tables", "eu-central-1")
    assert python.get("client.access-key-id") == spark.get("rest.access-key-id") == key
    assert needs_aws(project)


def test_a_store_without_keys_leaves_both_sides_to_the_chain_of_the_machine(plain: Project) -> None:
    project = with_blocks(plain, REST, NO_KEYS)
    python, spark = both(project)
    assert not {"s3.access-key-id", "s3.secret-access-key"} & (python.keys() | spark.keys())
    s3a = s3a_conf(project)
    assert s3a["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith("DefaultCredentialsProvider")
    assert "spark.hadoop.fs.s3a.access.key" not in s3a
    with_keys = s3a_conf(with_blocks(plain, REST, STORE))
    assert "spark.hadoop.fs.s3a.aws.credentials.provider" not in with_keys
    assert with_keys["spark.hadoop.fs.s3a.secret.key"] == "hidden"


def test_temporary_keys_have_their_token_on_every_side(plain: Project) -> None:
    project = with_blocks(plain, REST | {"auth": "sigv4"}, STORE | {"session_token": "short"})
    python, spark = both(project)
    assert {python["s3.session-token"], spark["s3.session-token"], spark["rest.session-token"]} == {"short"}
    assert python["client.session-token"] == "short"
    assert s3a_conf(project)["spark.hadoop.fs.s3a.session.token"] == "short"


def test_aws_itself_needs_no_address(plain: Project) -> None:
    project = with_blocks(plain, REST | {"auth": "sigv4"}, {"region": "eu-west-1"})
    python, spark = both(project)
    assert "s3.endpoint" not in python | spark
    assert (spark["client.region"], spark["s3.path-style-access"]) == ("eu-west-1", "false")
    assert s3a_conf(project)["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "true"
    assert spark["rest.signing-region"] == "eu-west-1"


def test_a_key_of_kms_encrypts_what_each_side_writes(plain: Project) -> None:
    project = with_blocks(plain, REST, STORE | {"kms_key": "arn:aws:kms:eu:1:key/a"})
    python, spark = both(project)
    assert (python["py-io-impl"], python["s3.sse-kms-key-id"]) == (FILE_IO, "arn:aws:kms:eu:1:key/a")
    assert (spark["s3.sse.type"], spark["s3.sse.key"]) == ("kms", "arn:aws:kms:eu:1:key/a")
    assert s3a_conf(project)["spark.hadoop.fs.s3a.encryption.key"] == "arn:aws:kms:eu:1:key/a"
    assert "py-io-impl" not in both(with_blocks(plain, REST, STORE))[0]


def test_an_authority_that_is_not_there_is_refused_by_its_key(plain: Project) -> None:
    with pytest.raises(ConfigError, match=r"object_store.ca_file: .*nowhere.pem is not there"):
        pyiceberg_properties(with_blocks(plain, REST, STORE | {"ca_file": "nowhere.pem"}))
    with pytest.raises(ConfigError, match=r"catalog.ca_file: .*nowhere.pem is not there"):
        pyiceberg_properties(with_blocks(plain, REST | {"ca_file": "nowhere.pem"}))


def test_every_secret_is_hidden_where_spark_shows_its_settings(plain: Project) -> None:
    import re

    catalog = REST | {"auth": "sigv4", "user": "canary-user", "password": "canary-secret"}
    project = with_blocks(plain, catalog, STORE | {"secret_key": "canary-store", "session_token": "canary-token"})
    shown = {k: v for k, v in session_conf(project).items() if not re.search(REDACTED, k)}
    assert not [value for value in shown.values() if "canary" in value]


@pytest.mark.parametrize(
    ("warehouse", "location", "scratch"),
    [
        ("s3://lake", "s3://lake/ops/run_claim", "s3://lake/_reproduce"),
        ("s3://lake/", "s3://lake/ops/run_claim", "s3://lake/_reproduce"),
        ("s3://lake/some/prefix", "s3://lake/some/prefix/ops/run_claim", "s3://lake/some/prefix_reproduce"),
        ("arn:aws:s3tables:eu:1:bucket/lake", None, None),
        ("lake", None, None),
    ],
)
def test_a_warehouse_is_a_bucket_a_prefix_or_a_name(
    plain: Project, warehouse: str, location: str | None, scratch: str | None
) -> None:
    project = with_blocks(plain, REST | {"warehouse": warehouse}, STORE)
    assert location_of(project, TABLE) == location
    assert {side["warehouse"] for side in both(project)} == {warehouse.rstrip("/")}
    if scratch is None:
        with pytest.raises(ConfigError, match=r"catalog\.scratch: missing"):
            beside(project)
    else:
        assert beside(project) == scratch
    own = with_blocks(plain, REST | {"warehouse": warehouse, "scratch": "s3://other/place/"}, STORE)
    assert beside(own) == "s3://other/place"


def test_a_local_warehouse_is_a_folder_of_the_clone_and_needs_no_reader_of_a_store(plain: Project) -> None:
    project = with_blocks(plain, {"type": "sqlite", "uri": "c.db", "warehouse": "data/warehouse"}, STORE)
    assert warehouse_of(project) == f"file://{Path(project.root).resolve()}/data/warehouse"
    assert "io-impl" not in both(project)[1]


def test_an_executor_finds_the_authority_in_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(s3.fs, "S3FileSystem", lambda **named: seen.append(named["tls_ca_file_path"]))
    there = tmp_path / "ca.pem"
    there.write_text("")
    for path in (str(there), "/of/the/driver/ca.pem"):
        s3.s3_filesystem({s3.CA_FILE: path})
    assert seen == [str(there), "ca.pem"]
