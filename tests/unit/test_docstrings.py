"""Docstrings are sentences about the thing that they stand on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Openings that lean on a neighbour or on the name above instead of saying a thing.
LEANING = ("The same", "Of ", "What ", "Whether ", "Some ")
FOLDERS = ("include", "dags", "spark_jobs", "tests", "benchmarks")


def openings(source: str) -> list[tuple[int, str]]:
    """The line and the first words of each docstring."""
    nodes = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [(getattr(node, "lineno", 1), text) for node in nodes if (text := ast.get_docstring(node))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_leans_on_its_neighbour(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    leaning = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in files
        for line, text in openings(path.read_text())
        if text.startswith(LEANING)
    ]
    assert files and not leaning
