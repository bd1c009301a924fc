"""One YAML file as keys and values; whatever is not plain data is refused with its line."""

from __future__ import annotations

from typing import Any

import yaml

from exp_platform.errors import ConfigError

DEEPEST = 20  # levels of nesting; a configuration needs about five
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
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is there twice", key_node.start_mark)
        seen.add(key)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep))


_PlainData.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_yaml(text: str, shown: str) -> dict[str, Any]:
    """The keys and values of a text; `shown` is the name of its file in the sentence of a refusal."""
    try:
        _refuse_what_grows(text, shown)
        content = yaml.load(text, Loader=_PlainData)
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
