"""One YAML file as keys and values; whatever is not plain data is refused with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exp_platform.errors import ConfigError

DEEPEST = 20  # levels of nesting; a configuration needs about five
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainData(_Loader):  # type: ignore[misc]
    """A safe loader that refuses a key that is written twice, and names the line of a value that can't be read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; Python's own complaint about it becomes one with a line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, OverflowError) as error:
            found = f"{str(node.value)[:40]!r}: " if isinstance(node, yaml.ScalarNode) else ""
            raise yaml.constructor.ConstructorError(None, None, f"{found}{error}", node.start_mark) from None


def _mapping(loader: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
        seen.add(key)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep))


_PlainData.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_yaml(text: str, shown: str) -> dict[str, Any]:
    """The keys and values of a text; `shown` is the name of its file in the sentence of a refusal."""
    try:
        _refuse_what_grows(text, shown)
        content = yaml.load(text, Loader=_PlainData)  # noqa: S506  _PlainData is a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{shown}: expected keys and values, found {type(content).__name__}")
    return content


def _refuse_what_grows(text: str, shown: str) -> None:
    """Aliases make a short text stand for billions of values, and deep nesting exhausts the parser's stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{shown}: line {line}: the alias *{event.anchor} is not allowed; write its value again")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > DEEPEST:
            raise ConfigError(f"{shown}: line {line}: nested deeper than {DEEPEST} levels")


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as it was read: its content, and where in its text each key stands."""

    shown: str  # the path, as a person would name it
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, file: Path, root: Path) -> ConfigFile:
        """Read a file; ${NAME} and ${NAME:-default} become environment variables, which hold the secrets."""
        shown = shown_path(file, root)
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{shown}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{shown}: cannot be read: {error}") from None
        filled = _fill(parse_yaml(text, shown), shown)
        assert isinstance(filled, dict)
        return cls(shown, text, filled)

    def place(self, key: str) -> str:
        """The file and the line of a key, such as `configs/metrics/revenue.yaml:7`; a missing key has its parent's."""
        line = line_of(self.text, key.split(",")[0].strip().split("."))
        return f"{self.shown}:{line}" if line else self.shown


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line of a key in a text that can be parsed; of the nearest key above where the key itself is missing.

    >>> line_of("name: a\\nwindow:\\n  end_hours: 3\\n", ["window", "end_hours"])
    3
    >>> line_of("name: a\\nwindow:\\n  end_hours: 3\\n", ["window", "start_hours"])
    2
    """
    node, found = yaml.compose(text, Loader=_Loader), None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                break
            key, node = pairs[part]
            found = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            found = node.start_mark.line + 1
        else:
            break
    return found


def shown_path(file: Path, root: Path) -> str:
    """The path below the root, or the whole path of a file that lies elsewhere."""
    try:
        return str(file.resolve().relative_to(root))
    except ValueError:
        return str(file)


def _fill(value: Any, shown: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, shown) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, shown) for item in value]
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(f"{shown}: ${{{name}}} is not set in the environment; set it (see .env.example)")
        return found

    return _VARIABLE.sub(one, value)
