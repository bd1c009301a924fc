"""The environment that docker-compose.yml gives to Airflow's services, for processes on one machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import make_env  # noqa: E402  (a script, not a module of the package)

_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::[-?]([^}]*))?\}")


def generated_secrets(folder: Path) -> dict[str, str]:
    """The values of a .env that `make env` writes."""
    make_env.write(folder / ".env")
    return make_env.values_of((folder / ".env").read_text())


def environment_of(service: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service in docker-compose.yml, with the values of .env filled in."""
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {name: filled(str(value), secrets) for name, value in content["services"][service]["environment"].items()}


def filled(text: str, secrets: Mapping[str, str]) -> str:
    """The text with its variables replaced, as compose does."""

    def one(match: re.Match[str]) -> str:
        name, default = match.groups()
        asked = ":?" in match.group()
        assert secrets.get(name) or not asked, f"{name} is empty in .env"
        return secrets.get(name) or ("" if asked else default or "")

    return _VARIABLE.sub(one, text)


def on_one_machine(environment: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """The environment with the places of containers replaced by those of processes, longest first."""
    replaced = {}
    for name, value in environment.items():
        for place in sorted(places, key=len, reverse=True):
            value = value.replace(place, places[place])
        replaced[name] = value
    return replaced
