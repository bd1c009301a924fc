"""A view is a convenience for people: where a catalog makes none, the run goes on and says so."""

from __future__ import annotations

from typing import Any

import pytest

from exp_platform.lake.views import ensure_valid_assignments


class Session:
    """A session whose catalog answers a CREATE VIEW with an error, or makes it."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked: list[str] = []

    def sql(self, text: str) -> None:
        self.asked.append(text)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "notice"),
    [
        (None, None),
        (RuntimeError("org.apache.iceberg.exceptions.AlreadyExistsException: View already exists"), None),
        (RuntimeError("Server does not support endpoint: POST /v1/x/views\n\tat java"), "does not support endpoint"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_a_catalog_without_views_is_a_notice(error: Exception | None, notice: str | None) -> None:
    session: Any = Session(error)
    said = ensure_valid_assignments(session)
    assert session.asked[0].startswith("CREATE VIEW IF NOT EXISTS iceberg.silver.fact_assignment AS SELECT")
    if notice is None:
        assert said is None
    else:
        assert said is not None
        assert notice in said and "only people miss it" in said and "\n" not in said
