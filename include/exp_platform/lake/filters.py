"""Filters over a table's columns; executors import this module, so it knows no catalog."""

from __future__ import annotations

from typing import Any

from pyiceberg.expressions import And, BooleanExpression, EqualTo, In


def matching(key: dict[str, Any]) -> BooleanExpression:
    """Filter for rows whose columns equal the key's values; a tuple, list or set matches any of its values."""
    terms = [In(c, v) if isinstance(v, (tuple, list, set)) else EqualTo(c, v) for c, v in key.items()]
    return terms[0] if len(terms) == 1 else And(*terms)
