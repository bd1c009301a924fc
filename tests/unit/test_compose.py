"""docker-compose.yml is valid by the Compose specification and starts every service that the platform needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from compose_spec import ComposeSpecification, Service

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_it_is_valid_by_the_compose_specification() -> None:
    ComposeSpecification.model_validate(COMPOSE)


def test_every_key_of_a_service_is_one_of_the_specification() -> None:
    """The model itself lets unknown keys pass, so a misspelt one would be ignored in silence."""
    known = {field.alias or name for name, field in Service.model_fields.items()}
    used = {key for service in COMPOSE["services"].values() for key in service}
    assert {"image", "command", "healthcheck"} <= known
    assert used <= known


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
        assert loose - {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"} == set(), name
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
