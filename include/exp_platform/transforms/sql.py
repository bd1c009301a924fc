"""Text as a literal of Spark SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """The literal, whatever quotes and backslashes the text holds."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
