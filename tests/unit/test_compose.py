"""docker-compose.yml is valid by the Compose specification and starts every service that the platform needs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from compose_spec import ComposeSpecification, Service
from compose_spec.models import Deployment, DeploymentResourcesLimits, Healthcheck, ServiceBuild, ServiceLogging
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_it_is_valid_by_the_compose_specification() -> None:
    ComposeSpecification.model_validate(COMPOSE)


def names_of(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_is_one_of_the_specification() -> None:
    """The models themselves let unknown keys pass, so a misspelt one would be ignored in silence."""
    services = COMPOSE["services"].values()
    limits = {key for s in services for key in s.get("deploy", {}).get("resources", {}).get("limits", {})}
    used = {
        Service: {key for service in services for key in service},
        Healthcheck: {key for service in services for key in service.get("healthcheck", {})},
        Deployment: {key for service in services for key in service.get("deploy", {})},
        DeploymentResourcesLimits: limits,
        ServiceLogging: {key for service in services for key in service.get("logging", {})},
        ServiceBuild: {key for service in services for key in service.get("build", {})},
    }
    assert all(used.values()) and {"image", "command", "healthcheck"} <= names_of(Service)
    assert {model.__name__: keys - names_of(model) for model, keys in used.items() if keys - names_of(model)} == {}


def test_an_unknown_dependency_condition_is_refused() -> None:
    """The check can fail: the model knows the specification's words."""
    broken = {"x": {"image": "a", "depends_on": {"y": {"condition": "whenever"}}}}
    with pytest.raises(ValueError, match="condition"):
        ComposeSpecification.model_validate({"services": broken})


def test_it_starts_every_service_of_the_platform() -> None:
    airflow = {f"airflow-{part}" for part in ("api-server", "scheduler", "dag-processor", "triggerer")}
    assert airflow | {"postgres", "object-store", "spark-master", "spark-worker"} <= set(COMPOSE["services"])


def test_every_variable_it_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    offered = {line.split("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line}
    assert asked <= offered


def test_ports_open_on_loopback_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def environment_of(service: str) -> dict[str, str]:
    return COMPOSE["services"][service].get("environment", {})


def test_no_service_has_a_secret_by_default_and_spark_has_none_at_all() -> None:
    """`${NAME:?…}` stops compose where .env lacks a secret; an empty default would start with it."""
    secret = re.compile(r"PASSWORD|SECRET|_KEY$")
    for name in COMPOSE["services"]:
        found = {key: value for key, value in environment_of(name).items() if secret.search(key)}
        loose = {key for key, value in found.items() if not re.fullmatch(r"\$\{\w+:\?.+\}", value)}
        assert loose == set(), name
    of_spark = [key for name in ("spark-master", "spark-worker") for key in environment_of(name)]
    assert of_spark and not any(secret.search(key) for key in of_spark)


def test_airflow_has_no_password_of_the_superuser_and_postgres_no_key_of_the_store() -> None:
    assert "POSTGRES_PASSWORD" not in environment_of("airflow-scheduler")
    assert not any("S3" in key or "OBJECT" in key for key in environment_of("postgres"))


def test_every_service_that_stays_has_a_health_check() -> None:
    ending = {"object-store-init", "airflow-init"}
    without = {name for name, service in COMPOSE["services"].items() if "healthcheck" not in service}
    assert without == ending


def test_what_ends_is_awaited_by_its_end_and_what_stays_by_its_health() -> None:
    for name, service in COMPOSE["services"].items():
        for other, how in service.get("depends_on", {}).items():
            ends = other.endswith("-init")
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), (name, other)


def test_postgres_is_healthy_once_it_answers_for_both_databases() -> None:
    check = COMPOSE["services"]["postgres"]["healthcheck"]["test"][1]
    assert "pg_isready" not in check  # it says yes for a database that does not exist
    assert "-h 127.0.0.1" in check  # while the databases are made, Postgres listens on its socket alone
    assert "-d iceberg" in check and "-d airflow" in check


def test_every_script_that_a_service_starts_is_there_and_can_be_started() -> None:
    scripts = {word for s in COMPOSE["services"].values() for word in s.get("command", []) if "scripts/" in word}
    assert scripts == {"scripts/airflow.sh", "scripts/object_store.sh", "scripts/spark.sh"}
    assert all((ROOT / script).stat().st_mode & 0o111 for script in scripts)


def stays(name: str) -> bool:
    return not name.endswith("-init")


def test_after_a_reboot_every_service_that_stays_comes_back_and_what_has_ended_does_not() -> None:
    found = {name: service["restart"] for name, service in COMPOSE["services"].items()}
    assert found == {name: "unless-stopped" if stays(name) else "on-failure" for name in found}


def test_every_service_has_a_limit_of_memory_and_cores_and_logs_that_end() -> None:
    for name, service in COMPOSE["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"] and limits["cpus"], name
        assert service["logging"]["options"]["max-size"], name


def gigabytes(text: str) -> float:
    """`8g` and `${NAME:-8g}` as a number."""
    found = re.fullmatch(r"(?:\$\{\w+:-)?(\d+)g\}?", text)
    assert found is not None, text
    return float(found[1])


def test_a_workers_container_has_room_beyond_what_its_executors_may_take() -> None:
    worker = COMPOSE["services"]["spark-worker"]
    limit = gigabytes(worker["deploy"]["resources"]["limits"]["memory"])
    assert limit >= 1.5 * gigabytes(worker["environment"]["SPARK_WORKER_MEMORY"])


def test_drivers_fit_into_the_container_that_runs_them() -> None:
    prod = (ROOT / "configs" / "prod.yaml").read_text()
    driver = gigabytes(re.findall(r"driver_memory: (\S+)", prod)[0])
    limit = gigabytes(COMPOSE["services"]["airflow-scheduler"]["deploy"]["resources"]["limits"]["memory"])
    slots = int(
        re.findall(
            r"EXP_SPARK_SLOTS:-(\d+)", COMPOSE["services"]["airflow-scheduler"]["environment"]["EXP_SPARK_SLOTS"]
        )[0]
    )
    assert limit >= slots * (driver + 1) + 2 * slots * 1  # a driver and its Python; stages without a session


def test_the_login_is_no_development_manager() -> None:
    environment = environment_of("airflow-api-server")
    manager = environment["AIRFLOW__CORE__AUTH_MANAGER"]
    module, _, name = manager.rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    assert not any("SIMPLE_AUTH" in key for key in environment)


def test_memos_data_docs_and_task_logs_are_in_the_store_and_in_no_volume() -> None:
    prod = (ROOT / "configs" / "prod.yaml").read_text()
    assert re.findall(r"_DIR:-(\S+?)/", prod) == ["s3a:", "s3a:"]
    assert set(COMPOSE["volumes"]) == {"postgres-data", "object-store-data", "airflow-logs"}
    environment = environment_of("airflow-scheduler")
    assert environment["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "true"
    assert environment["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"].startswith("s3://")
    assert environment["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] in (ROOT / "scripts" / "airflow.sh").read_text()


def test_images_are_pinned_to_a_release_and_can_be_pinned_by_digest() -> None:
    """No registry could be asked for digests when this was written: .env takes NAME@sha256:… in place of a tag."""
    compose, dockerfile = (ROOT / "docker-compose.yml").read_text(), (ROOT / "Dockerfile").read_text()
    found = dict(re.findall(r"\$\{(\w+_IMAGE):-(\S+)\}", compose))
    assert set(found) == {"POSTGRES_IMAGE", "PYTHON_IMAGE"}
    assert all(re.search(r":\d+\.\d+(\.\d+)?-\w+", image) for image in found.values())
    assert f"ARG PYTHON_IMAGE={found['PYTHON_IMAGE']}" in dockerfile
    example = (ROOT / ".env.example").read_text()
    assert all(f"{name}={image}" in example for name, image in found.items())
