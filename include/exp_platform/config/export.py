"""Writes docs/schemas/ for editors and the tables of docs/configuration.md for people, both from the models.

Run as `python -m exp_platform.config.export`; `make docs-generated` does.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from exp_platform.config.keys_page import filled_in
from exp_platform.config.models import Experiment, Metric, Profile, Stream
from exp_platform.config.policy import Policy
from exp_platform.paths import clone_root

MODELS: dict[str, type[BaseModel]] = {
    "experiment": Experiment,
    "metric": Metric,
    "policy": Policy,
    "profile": Profile,
    "stream": Stream,
}


def schema_text(name: str) -> str:
    """The JSON schema of one kind of file."""
    return json.dumps(MODELS[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def schema_path(name: str) -> Path:
    """Where an editor finds it."""
    return clone_root() / "docs" / "schemas" / f"{name}.schema.json"


def page_path() -> Path:
    """The page whose tables are written from the models."""
    return clone_root() / "docs" / "configuration.md"


def page_text() -> str:
    """The page with its tables as the models are today; everything else on it stays."""
    return filled_in(page_path().read_text(encoding="utf-8"), list(MODELS.values()))


def main() -> None:
    """Write all of them."""
    for name in MODELS:
        schema_path(name).parent.mkdir(parents=True, exist_ok=True)
        schema_path(name).write_text(schema_text(name), encoding="utf-8")
    page_path().write_text(page_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
