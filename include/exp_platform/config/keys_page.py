"""Tables of configuration keys for people, written into a page between `<!-- keys: Name -->` and `<!-- end -->`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from exp_platform.errors import ConfigError

Schema = dict[str, Any]
_MARKED = re.compile(r"<!-- keys: (\w+) -->\n.*?<!-- end -->", flags=re.DOTALL)
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
_FORMATS = {"date-time": "time", "date": "date"}
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


def filled_in(page: str, models: Sequence[type[BaseModel]]) -> str:
    """The page with each marked table written anew; a name that no model has is refused."""
    schemas: dict[str, Schema] = {}
    for model in models:
        schema = model.model_json_schema()
        schemas |= schema.get("$defs", {}) | {model.__name__: schema}

    def table(match: re.Match[str]) -> str:
        name = match[1]
        if name not in schemas:
            raise ConfigError(f"<!-- keys: {name} -->: no such model; known: {', '.join(sorted(schemas))}")
        return "\n".join([f"<!-- keys: {name} -->", *key_table(schemas[name]), "<!-- end -->"])

    return _MARKED.sub(table, page)


def key_table(schema: Schema) -> Iterator[str]:
    """One row for each key: name, meaning, allowed values, default."""
    yield "| key | meaning | allowed | default |"
    yield "|---|---|---|---|"
    required = schema.get("required", [])
    for key, spec in schema["properties"].items():
        default = "required" if key in required else _default(spec)
        yield f"| `{key}` | {spec.get('description', '')} | {allowed(spec)} | {default} |"


def allowed(spec: Schema) -> str:
    """The values that a key may have, in words.

    >>> allowed({"type": "integer", "minimum": 1})
    'whole number ≥ 1'
    >>> allowed({"anyOf": [{"enum": ["any", "complete"]}, {"type": "null"}]})
    '`any`, `complete`'
    """
    if "$ref" in spec:
        return f"[keys below](#{_name(spec).lower()})"
    if "enum" in spec or "const" in spec:
        return ", ".join(f"`{value}`" for value in spec.get("enum", [spec.get("const")]))
    if choices := spec.get("anyOf") or spec.get("oneOf"):
        return " or ".join(allowed(choice) for choice in choices if choice.get("type") != "null")
    if spec.get("type") == "array":
        return f"list of {allowed(spec['items'])}"
    if spec.get("type") == "object":
        return f"name: {allowed(spec['additionalProperties'])}"
    bounds = [words.format(spec[name]) for name, words in _BOUNDS.items() if name in spec]
    kind = _FORMATS.get(spec.get("format", "")) or _TYPES[spec["type"]]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _name(spec: Schema) -> str:
    return str(spec["$ref"]).rsplit("/", 1)[-1]


def _default(spec: Schema) -> str:
    default = spec.get("default")
    if default in (None, [], {}):
        return ""
    if isinstance(default, dict):
        return "as below"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
