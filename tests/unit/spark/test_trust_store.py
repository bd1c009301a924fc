"""A JVM trusts the authority that the profile names, beside those of Java; executors get the store as a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.certificates import write_authority
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.spark import trust_store as own
from exp_platform.spark.executors import executor_conf
from exp_platform.spark.java import find_java_home
from exp_platform.spark.session import launch_conf

CLUSTER = {"master": "spark://somewhere:7077"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(own, "clone_root", lambda: tmp_path)
    store = {"endpoint": "https://store:9000", "access_key": "a", "secret_key": "b", "ca_file": "ca.pem"}
    return make_project(tmp_path, object_store=store, spark=CLUSTER | {"driver_memory": "1g"})


def test_the_store_is_made_once_and_reaches_driver_and_executors(project: Project) -> None:
    write_authority(project.root, "own-ca")
    store = own.trust_store(project)
    assert store is not None
    keytool = [f"{find_java_home()}/bin/keytool", "-list", "-keystore", str(store), "-storepass", "changeit"]
    listed = subprocess.run(keytool, check=True, capture_output=True, text=True).stdout
    assert "exp-0," in listed
    assert listed.count("trustedCertEntry") > 50  # Java's own are still there
    made = store.stat().st_mtime_ns
    assert f"-Djavax.net.ssl.trustStore={store} " in launch_conf(project)["spark.driver.extraJavaOptions"]
    settings = executor_conf(project)
    assert settings["spark.files"] == f"{store},{project.root}/ca.pem"
    assert "-Djavax.net.ssl.trustStore=exp_trust_store " in settings["spark.executor.extraJavaOptions"]
    assert store.stat().st_mtime_ns == made


def test_a_file_without_a_certificate_is_refused(project: Project) -> None:
    (project.root / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate in it"):
        own.trust_store(project)


def test_without_an_authority_of_its_own_a_jvm_keeps_that_of_java(tmp_path: Path) -> None:
    plain = make_project(tmp_path, spark=CLUSTER)
    assert own.trust_store(plain) is None
    assert "trustStore" not in launch_conf(plain)["spark.driver.extraJavaOptions"]
    assert "spark.files" not in executor_conf(plain)
