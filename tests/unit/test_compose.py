"""docker-compose.yml is valid by the Compose specification and starts every service that the platform needs."""

from __future__ import annotations

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
    import re

    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    offered = {line.split("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line}
    assert asked <= offered


def test_ports_open_on_loopback_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
