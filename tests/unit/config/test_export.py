"""The schemas that editors use and the page that people read are those of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from exp_platform.config.export import MODELS, page_path, page_text, schema_path, schema_text
from exp_platform.config.keys_page import allowed, filled_in, key_table
from exp_platform.config.load import Project
from exp_platform.config.models import Variant, Window
from exp_platform.errors import ConfigError
from exp_platform.paths import clone_root

FOLDERS = {"experiment": "experiments", "metric": "metrics", "policy": "policies"}


def keys_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in {schema["title"]: schema, **schema.get("$defs", {})}.items():
        for key, spec in part["properties"].items():
            yield f"{name}.{key}", spec


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_schema_has_not_drifted(name: str) -> None:
    assert schema_path(name).read_text(encoding="utf-8") == schema_text(name), "run `make docs-generated`"


@pytest.mark.parametrize("name", MODELS)
def test_every_key_has_a_description_that_an_editor_shows(name: str) -> None:
    found = dict(keys_of(json.loads(schema_text(name))))
    assert found
    assert [key for key, spec in found.items() if not str(spec.get("description", "")).endswith(".")] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_the_shipped_files_are_valid_by_their_schema(project: Project, name: str) -> None:
    schema = json.loads(schema_text(name))
    files = list((project.root / "configs" / FOLDERS[name]).glob("*.yaml"))
    assert files
    for file in files:
        jsonschema.validate(json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str)), schema)


def test_the_page_has_every_key_and_has_not_drifted() -> None:
    page = page_path().read_text(encoding="utf-8")
    assert page == page_text(), "run `make docs-generated`"
    models = {key.split(".")[0] for name in MODELS for key, _ in keys_of(json.loads(schema_text(name)))}
    assert [model for model in sorted(models) if f"<!-- keys: {model} -->\n| key |" not in page] == []


def test_a_table_of_keys_says_what_is_allowed_and_what_is_left_out() -> None:
    assert list(key_table(Window.model_json_schema()))[2:4] == [
        "| `start_hours` | Hours after the anchor at which the window opens; 0 or more. | number | `0` |",
        "| `end_hours` | Hours after the anchor at which it closes; `experiment`: at the experiment's end_ts. "
        "| number or `experiment` | required |",
    ]
    assert allowed({"type": "array", "items": {"$ref": "#/$defs/Variant"}}) == "list of [keys below](#variant)"


def test_only_marked_tables_of_a_page_are_written_and_an_unknown_name_is_refused() -> None:
    page = "# Arms\nby hand\n<!-- keys: Variant -->\nold\n<!-- end -->\nby hand\n"
    written = filled_in(page, [Variant])
    assert written.startswith("# Arms\nby hand\n<!-- keys: Variant -->\n| key |")
    assert written.endswith("<!-- end -->\nby hand\n")
    assert "old" not in written
    with pytest.raises(ConfigError, match="keys: Arm -->: no such model; known: Variant"):
        filled_in("<!-- keys: Arm -->\n<!-- end -->", [Variant])


@pytest.mark.parametrize(
    ("name", "pattern"), [*((n, f"{folder}/*.yaml") for n, folder in FOLDERS.items()), ("profile", "*.yaml")]
)
def test_every_shipped_file_names_its_schema_for_the_editor(name: str, pattern: str) -> None:
    up = "../" * (1 + pattern.count("/"))
    line = f"# yaml-language-server: $schema={up}docs/schemas/{name}.schema.json"
    files = sorted((clone_root() / "configs").glob(pattern))
    assert files
    assert [file.name for file in files if file.read_text().splitlines()[0] != line] == []
