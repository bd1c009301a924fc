"""JSON schemas of the configuration, for editors: `python -m exp_platform.config.export` writes docs/schemas/."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from exp_platform.config.models import Experiment, Metric, Profile
from exp_platform.paths import clone_root

MODELS: dict[str, type[BaseModel]] = {"experiment": Experiment, "metric": Metric, "profile": Profile}


def schema_text(name: str) -> str:
    """The JSON schema of one kind of file."""
    return json.dumps(MODELS[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def schema_path(name: str) -> Path:
    """Where an editor finds it."""
    return clone_root() / "docs" / "schemas" / f"{name}.schema.json"


def main() -> None:
    """Write all of them."""
    for name in MODELS:
        schema_path(name).parent.mkdir(parents=True, exist_ok=True)
        schema_path(name).write_text(schema_text(name))


if __name__ == "__main__":
    main()
