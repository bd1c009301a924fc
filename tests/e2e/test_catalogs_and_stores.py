"""Real catalogs and stores by config: identities, named warehouses, TLS, keys; what is refused ends in one sentence."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from pyarrow.fs import FileSelector
from tests.conftest import make_project
from tests.store_server import KEY, SECRET, Server, store_server
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import ensure_tables, load_catalog, load_handle
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.raw_zone import filesystem, list_days
from exp_platform.operations.recover import recover
from exp_platform.operations.scratch import beside, scratch_lake
from exp_platform.spark.jars import OBJECT_STORE, resolve_jars

pytestmark = pytest.mark.slow

CLAIM = "ops.run_claim"
BY_SPARK = """
import sys
from exp_platform.lake.views import ensure_valid_assignments
from exp_platform.spark.session import build_spark_session

spark = build_spark_session("test", sys.argv[1])
print("notice of the view:", ensure_valid_assignments(spark))
spark.range(5).write.parquet("s3a://raw/by-spark")
print("raw rows:", spark.read.parquet("s3a://raw/by-spark").count())
spark.sql("CREATE TABLE iceberg.silver.by_spark (id BIGINT) USING iceberg")
spark.range(3).writeTo("iceberg.silver.by_spark").append()
spark.stop()
"""
EXPERIMENT = "exp_checkout_button_001"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with store_server(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture(autouse=True)
def no_keys_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def project_on(folder: Path, catalog: dict[str, Any], store: dict[str, Any]) -> Project:
    return make_project(folder, raw_root="s3a://raw/zone", catalog=catalog, object_store=store)


def embedded(warehouse: str) -> dict[str, Any]:
    return {"type": "sqlite", "uri": "data/catalog.db", "warehouse": warehouse}


def test_a_rest_catalog_on_a_store_is_certified_with_oauth2(server: Server, tmp_path: Path) -> None:
    project = project_on(tmp_path, server.rest(views=True), server.store())
    ensure_buckets(project)
    result = CliRunner().invoke(app, ["doctor", "--deep", "--config", str(project.path)])
    assert "catalog rest on an object store: certified" in result.stdout, result.stdout
    for proof in ("tag kept", "stale overwrite", "concurrent", "unknown state", "views", "clock"):
        assert f"ok     {proof}" in result.stdout
    assert [name for _, name in load_catalog(project).list_tables("ops") if "doctor" in name] == []


def test_a_catalog_that_names_its_warehouse_chooses_places_and_takes_signed_requests(
    server: Server, tmp_path: Path
) -> None:
    arn = "arn:aws:s3tables:us-east-1:000000000000:bucket/lake"
    for number, name in enumerate(("lake", arn)):
        catalog = server.rest(warehouse=name, auth="sigv4", signing_name="s3tables")
        project = project_on(tmp_path / str(number), catalog, server.store())
        assert load_handle(project, CLAIM).location().startswith("s3://lake/ops/run_claim")
    with pytest.raises(ConfigError, match="is a name, and only its catalog knows where tables lie"):
        list(recover(project))
    with pytest.raises(ConfigError, match=r"catalog\.scratch: missing"):
        beside(project)


def test_no_library_warns_about_an_identity(server: Server, tmp_path: Path) -> None:
    project = project_on(tmp_path, server.rest(), server.store())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_catalog(project).list_namespaces()


def test_a_token_that_was_given_out_is_a_bearers_identity(server: Server, tmp_path: Path) -> None:
    block = server.rest()
    form = {"grant_type": "client_credentials", "client_id": KEY, "client_secret": SECRET}
    token = requests.post(f"{block['uri']}/v1/oauth/tokens", data=form, timeout=30).json()["access_token"]
    bearer = {key: value for key, value in block.items() if key not in ("user", "password")} | {"token": token}
    assert load_handle(project_on(tmp_path, bearer, server.store()), CLAIM).location() == "s3://lake/ops/run_claim"


def test_a_store_with_an_authority_of_its_own_takes_the_keys_of_the_machine(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = server.with_tls(access_key=None, secret_key=None)
    project = project_on(tmp_path / "known", embedded("s3://by-chain/lake"), block)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    ensure_buckets(project)
    assert load_handle(project, CLAIM).scan().to_arrow().num_rows == 0
    assert list_days(project, EXPERIMENT) == []
    unknown = project_on(tmp_path / "unknown", embedded("s3://by-chain/other"), block | {"ca_file": None})
    with pytest.raises(ConfigError, match=r"does not trust .*object_store.ca_file"):
        load_handle(unknown, CLAIM)


def test_what_is_written_is_encrypted_with_the_key_of_the_profile(server: Server, tmp_path: Path) -> None:
    project = project_on(tmp_path, embedded("s3://secret/lake"), server.store(kms_key="a-kms-key"))
    ensure_buckets(project)
    load_handle(project, CLAIM)
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=server.store()["endpoint"], **keys)
    objects = client.list_objects_v2(Bucket="secret")["Contents"]
    heads = [client.head_object(Bucket="secret", Key=one["Key"]) for one in objects]
    assert len(heads) >= 3
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in heads} == {("aws:kms", "a-kms-key")}


@pytest.mark.parametrize(
    ("warehouse", "scratch"),
    [
        ("s3://root-lake", "s3://root-lake/_reproduce/"),
        ("s3://prefix-lake/some/where", "s3://prefix-lake/some/where_reproduce/"),
    ],
)
def test_a_scratch_lake_lies_beside_the_warehouse_in_a_bucket_that_is_there(
    server: Server, tmp_path: Path, warehouse: str, scratch: str
) -> None:
    project = project_on(tmp_path, embedded(warehouse), server.store())
    ensure_buckets(project)
    assert load_handle(project, CLAIM).location() == f"{warehouse.rstrip('/')}/ops/run_claim"
    with scratch_lake(project, "run") as lake:
        place = load_handle(lake, CLAIM).location()
        assert place.startswith(scratch) and place.endswith("/ops/run_claim")
    files, path = filesystem(project, scratch)
    left = files.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    assert [one.path for one in left if one.is_file] == []


def refusals(server: Server) -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    wrong = server.store(secret_key="wrong")
    return {
        "wrong key of the store": (embedded("s3://raw/lake"), wrong, "refuses this client .*object_store.access_key"),
        "missing bucket": (embedded("s3://no-such-bucket/x"), server.store(), "the bucket 'no-such-bucket' of"),
        "wrong client": (server.rest(password="wrong"), server.store(), "refuses this client .*catalog.user"),
        "wrong token": (
            server.rest(user=None, password=None, token="wrong"),
            server.store(),
            "refuses this client .*catalog.token",
        ),
        "wrong warehouse": (server.rest(warehouse="nowhere"), server.store(), "does not know the warehouse 'nowhere'"),
    }


@pytest.mark.parametrize(
    "what", ["wrong key of the store", "missing bucket", "wrong client", "wrong token", "wrong warehouse"]
)
def test_a_wrong_setting_is_refused_in_one_sentence_and_not_tried_again(
    server: Server, tmp_path: Path, what: str
) -> None:
    catalog, store, sentence = refusals(server)[what]
    ensure_buckets(project_on(tmp_path / "first", embedded("s3://raw/lake"), server.store()))
    project = project_on(tmp_path / "second", {k: v for k, v in catalog.items() if v is not None}, store)
    with pytest.raises(ConfigError, match=sentence) as refused:
        ensure_tables(project, names=(CLAIM,))
    assert refused.value.exit_code == 64
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.long
@pytest.mark.spark
def test_spark_goes_where_python_goes_signed_by_tls_with_the_keys_of_the_machine(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_jars(OBJECT_STORE)
    catalog = server.rest(warehouse="lake", auth="sigv4", signing_name="s3tables", views=True)
    given = {key: value for key, value in catalog.items() if key not in ("user", "password")}
    project = project_on(tmp_path, given, server.with_tls(access_key=None, secret_key=None))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    ensure_buckets(project)
    ensure_tables(project, names=("silver.fact_assignment_canonical",))
    command = [sys.executable, "-c", BY_SPARK, str(project.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "notice of the view: None" in done.stdout
    assert "raw rows: 5" in done.stdout
    assert " WARN " not in done.stdout + done.stderr
    assert load_catalog(project).load_table("silver.by_spark").scan().to_arrow().num_rows == 3
