"""The definition of a metric: the keys of its contract that change results, and how two definitions differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from exp_platform.config.models import Metric

Definition = dict[str, Any]
# Keys of a contract that change no number: they may be mended under the same version.
FOR_PEOPLE = frozenset({"name", "version", "description", "owner", "title", "unit", "format"})
WORDING = {"title", "unit", "format"}  # the keys of these that are in no config hash either
NOT_SET = "not set"


def definition_of(metric: Metric) -> Definition:
    """The keys of the contract that change results, without those that hold their default.

    A key that a later release adds with a default leaves the definitions of today as they are.
    """
    content = metric.model_dump(mode="json", exclude_defaults=True, exclude=set(FOR_PEOPLE))
    return dict(sorted(content.items()))


def fingerprint(definition: Mapping[str, Any]) -> str:
    """A hash of the definition.

    >>> fingerprint({"type": "sum"}) == fingerprint({"type": "count"})
    False
    """
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each key that differs, with both of its values.

    >>> differences({"window": {"end_hours": 168}}, {"window": {"end_hours": 72}, "cap": {"value": 9}})
    ['cap.value: not set → 9', 'window.end_hours: 168 → 72']
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key}: {old.get(key, NOT_SET)} → {new.get(key, NOT_SET)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, NOT_SET) != new.get(key, NOT_SET)
    ]


def _flat(content: Any, above: str = "") -> dict[str, Any]:
    """Every value that is no mapping and no list of mappings, under its path."""
    if isinstance(content, Mapping):
        items: list[tuple[str, Any]] = list(content.items())
    elif isinstance(content, list | tuple) and any(isinstance(item, Mapping) for item in content):
        items = [(_label(item, i), item) for i, item in enumerate(content)]
    else:
        return {above.removesuffix("."): content}
    found: dict[str, Any] = {}
    for key, value in items:
        found |= _flat(value, f"{above}{key}.")
    return found


def _label(item: Any, position: int) -> str:
    """A part of a list by its own name, so that a part that is added in front does not change the others."""
    name = next((item[key] for key in ("id", "metric", "name") if isinstance(item, Mapping) and key in item), position)
    return str(name)
