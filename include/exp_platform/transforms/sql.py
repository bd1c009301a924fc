"""Texts quoted as literals of Spark SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """The text as a literal, with quotes and backslashes escaped."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
