"""The schemas that editors use are those of the code."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from exp_platform.config.export import MODELS, schema_path, schema_text
from exp_platform.config.load import Project


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_schema_has_not_drifted(name: str) -> None:
    assert schema_path(name).read_text() == schema_text(name), "run `python -m exp_platform.config.export`"


@pytest.mark.parametrize("name", ["experiment", "metric"])
def test_the_shipped_files_are_valid_by_their_schema(project: Project, name: str) -> None:
    schema = json.loads(schema_text(name))
    for file in (project.root / "configs" / f"{name}s").glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        jsonschema.validate(_as_json(content), schema)


def _as_json(content: object) -> object:
    return json.loads(json.dumps(content, default=str))
