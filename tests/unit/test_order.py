"""`make test` starts with the dearest files, whatever their names and marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.order import DEAREST, rank

ROOT = Path(__file__).resolve().parents[2]


def test_the_dearest_files_are_there() -> None:
    assert [file for file in DEAREST if not (ROOT / file).is_file()] == []
    assert len(set(DEAREST)) == len(DEAREST)


def test_the_dearest_come_first_then_what_has_a_mark_then_the_rest() -> None:
    files = {
        "tests/unit/a.py": set(),
        "tests/b.py": {"airflow"},
        "tests/c.py": {"spark"},
        "tests/d.py": {"spark", "slow"},
    }
    files |= {DEAREST[1]: {"spark"}, DEAREST[0]: {"airflow", "slow"}}
    ordered = sorted(files, key=lambda file: rank(file, files[file]))
    assert ordered == [DEAREST[0], DEAREST[1], "tests/d.py", "tests/c.py", "tests/b.py", "tests/unit/a.py"]


def test_the_tests_of_this_run_are_in_that_order(request: pytest.FixtureRequest) -> None:
    marks: dict[str, set[str]] = {}
    for item in request.session.items:
        marks.setdefault(item.nodeid.partition("::")[0], set()).update(mark.name for mark in item.iter_markers())
    ranks = [rank(file, found) for file, found in marks.items()]
    assert ranks == sorted(ranks)
