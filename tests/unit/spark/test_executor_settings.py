"""Settings of executors, the archive that they unpack, and the settings that a JVM is started with."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.paths import clone_root
from exp_platform.spark import executors, package, session
from exp_platform.spark.executors import executor_conf
from exp_platform.spark.master import require_master
from exp_platform.spark.package import KERNELS, code_stamp, distributions, require_package

SECRETS = ("canary-password", "canary-access", "canary-secret")
STORE = {"endpoint": "http://127.0.0.1:1", "access_key": "canary-access", "secret_key": "canary-secret"}
CLUSTER = {"master": "spark://m:7077", "driver_memory": "1g", "shuffle_partitions": 2}


def empty_archive(path: Path, stamp: str) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.comment = stamp.encode()
    return path


def cluster(folder: Path, **spark: object) -> Project:
    catalog = {
        "type": "postgres", "uri": "db:5432/iceberg", "user": "u", "password": "canary-password", "warehouse": "s3://w/i"
    }  # fmt: skip
    return make_project(folder, spark=CLUSTER | spark, catalog=catalog, object_store=STORE)


def test_a_local_session_has_no_settings_of_executors(project: Project) -> None:
    assert executor_conf(project) == {}


def test_executors_with_an_image_of_their_own_get_sizes_and_no_path(tmp_path: Path) -> None:
    conf = executor_conf(cluster(tmp_path, executor_memory="3g", executor_cores=2, cores_max=4))
    assert conf == {
        "spark.executor.extraJavaOptions": executors.JVM_OPTIONS,
        "spark.executor.memory": "3g",
        "spark.executor.cores": "2",
        "spark.cores.max": "4",
    }


def test_shipped_executors_get_the_package_the_jars_and_a_relative_import_path(tmp_path: Path) -> None:
    archive = empty_archive(tmp_path / "executor.zip", code_stamp())
    conf = executor_conf(cluster(tmp_path, executor_package=str(archive)))
    assert conf["spark.archives"] == f"{archive}#exp_executor"
    assert conf["spark.executorEnv.PYTHONPATH"] == "exp_executor"
    assert "iceberg-spark-runtime" in conf["spark.jars"] and "hadoop-aws" in conf["spark.jars"]
    assert "jdbc" not in conf["spark.jars"] and "postgresql" not in conf["spark.jars"]
    of_executors = [value for key, value in conf.items() if key.startswith("spark.executor")]
    assert not any(str(clone_root()) in value for value in of_executors)


def test_an_archive_of_other_code_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"executor\.zip is not there: run `make package`"):
        require_package(tmp_path / "executor.zip")
    with pytest.raises(ConfigError, match="was made from other code: run `make package`"):
        require_package(empty_archive(tmp_path / "executor.zip", "0.1.0+abc"))
    (tmp_path / "executor.zip").write_text("no archive")
    with pytest.raises(ConfigError, match="is no zip archive"):
        require_package(tmp_path / "executor.zip")


def test_kernels_import_only_what_the_package_holds_and_no_catalog() -> None:
    """Everything that is not in the package is hidden, as on a machine of executors."""
    code = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]: importlib.import_module(module)\n"
        "print(*{name for name, module in sys.modules.items() if getattr(module, '__file__', None)})"
    )
    done = subprocess.run([sys.executable, "-c", code, *KERNELS], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    held = {name.replace("-", "_") for name in distributions()} | {"dateutil", "pydantic_core", "typing_extensions"}
    known = held | {"exp_platform", "pyspark", "py4j", *sys.stdlib_module_names}
    optional = {"pandas", "pytz", "psutil", "ruamel", "cython_runtime"}  # imported where they are there, not needed
    others = {name.split(".")[0] for name in loaded} - known - optional
    assert {name for name in others if not re.match(r"_|\d|[0-9a-f]{20}__mypyc", name)} == set()
    assert "exp_platform.lake.catalog" not in loaded
    assert not any(name.startswith(("sqlalchemy", "airflow", "great_expectations")) for name in loaded)


def test_every_module_with_a_kernel_is_named() -> None:
    """A function that Spark calls in a task is found by the call that sends it there."""
    code = clone_root() / "include" / "exp_platform"
    sending = {
        ".".join(path.relative_to(code.parent).with_suffix("").parts)
        for path in code.rglob("*.py")
        if "mapInArrow(" in path.read_text()
    } - {"exp_platform.spark.fast_start"}  # the application that it writes to a file runs at set-up alone
    assert sending and sending <= set(KERNELS)


def test_the_jvm_is_started_without_a_secret_and_gets_them_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark import SparkContext

    project = cluster(tmp_path)
    given: list[tuple[str, str]] = []
    monkeypatch.setattr(SparkContext, "_gateway", None)
    monkeypatch.setattr(SparkContext, "_ensure_initialized", lambda conf: given.extend(conf.getAll()))
    assert session._start_jvm(project)
    assert ("spark.master", "spark://m:7077") in given
    assert not any(secret in value for _, value in given for secret in SECRETS)
    later = " ".join(session.session_conf(project).values())
    assert all(secret in later for secret in SECRETS)


def test_every_setting_that_holds_a_secret_is_left_out_of_the_event_log(tmp_path: Path) -> None:
    conf = session.session_conf(cluster(tmp_path))
    pattern = re.compile(conf["spark.redaction.regex"])
    open_to_all = [key for key, value in conf.items() if any(s in value for s in SECRETS) and not pattern.search(key)]
    assert open_to_all == []
    assert pattern.search("spark.sql.catalog.iceberg.credential")


def test_a_master_that_does_not_answer_is_named_in_one_sentence() -> None:
    with pytest.raises(
        ExpError, match=r"the Spark master spark://127\.0\.0\.1:1 does not answer \(Connection refused\)"
    ):
        require_master("spark://127.0.0.1:1", wait_seconds=0)
    with pytest.raises(ExpError, match="found 'nothing', expected host:port"):
        require_master("spark://nothing", wait_seconds=0)
    require_master("local[2]")
    require_master("k8s://https://somewhere")


def test_the_archive_is_written_again_only_when_it_was_made_from_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(package, "write_package", lambda archive: written.append(archive) or archive)
    archive = tmp_path / "executor.zip"
    assert package.current_package(archive) == archive
    package.current_package(empty_archive(archive, "0.1.0+abc"))
    assert written == [archive, archive]
    assert package.current_package(empty_archive(archive, code_stamp())) == archive
    assert written == [archive, archive]


def test_the_archive_holds_modules_with_their_bytecode_and_no_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "DISTRIBUTIONS", ("mmh3",))
    with zipfile.ZipFile(package.write_package(tmp_path / "out" / "executor.zip")) as opened:
        names = opened.namelist()
        stamp = opened.comment.decode()
    assert "exp_platform/lake/arrow_files.py" in names
    assert "exp_platform/lake/__pycache__/arrow_files.cpython-311.pyc" in names
    assert any(name.startswith("mmh3") and name.endswith(".so") for name in names)
    assert not any(name.startswith("..") or "/tests/" in name for name in names)
    assert stamp == code_stamp()
