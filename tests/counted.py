"""Count the round trips to the catalog: every question and every commit, by whichever catalog they go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

ASKED = ("load_table", "table_exists", "namespace_exists", "list_tables", "list_namespaces")
CHANGED = ("commit_table", "create_table", "create_namespace", "drop_table")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The number of calls of each method of the catalog, and of catalogs opened, within the block."""
    calls: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name in (*ASKED, *CHANGED, "__init__"):
            patch.setattr(SqlCatalog, name, _counting(calls, name))
        yield calls


def _counting(calls: Counter[str], name: str) -> Any:
    method = getattr(SqlCatalog, name)

    def call(catalog: SqlCatalog, *words: Any, **named: Any) -> Any:
        calls["opened" if name == "__init__" else name] += 1
        return method(catalog, *words, **named)

    return call
