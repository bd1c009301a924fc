"""`make test` says what is left, whether pytest runs the tests itself or hands them to workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.progress import Left

IDS = [f"tests/{name}.py::test_{number}" for name in "ab" for number in range(10)]


def test_after_each_tenth_the_number_of_tests_and_files_that_are_left_is_told() -> None:
    times = iter([0.0, 60.0, *(120.0 + 60 * n for n in range(20))])
    left = Left(clock=lambda: next(times))
    left.begin(IDS)
    left.begin(IDS)  # the second worker has collected the same
    told = [left.end(nodeid) for nodeid in IDS]
    assert told[0] == ""
    assert told[1] == "18 of 20 tests are left, in 2 file(s) (1 min so far)"
    assert told[11] == "8 of 20 tests are left, in 1 file(s) (6 min so far)"
    assert told[-1] == ""
    assert sum(1 for line in told if line) == 9


def test_a_run_of_one_test_and_a_run_without_tests_say_nothing() -> None:
    left = Left()
    assert left.end("tests/a.py::test_1") == ""
    left.begin(["tests/a.py::test_1"])
    assert left.end("tests/a.py::test_1") == ""


@pytest.mark.parametrize("workers", [["-p", "no:xdist"], ["-n", "2"]])
def test_pytest_prints_it_with_and_without_workers(tmp_path: Path, workers: list[str]) -> None:
    root = str(Path(__file__).resolve().parents[2])
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {root!r})\nfrom tests.progress import register as pytest_configure\n"
    )
    (tmp_path / "test_two.py").write_text("".join(f"def test_{n}(): pass\n" for n in range(4)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 4 tests are left, in 1 file(s) (0 min so far)" in done.stdout
    assert "1 of 4 tests are left, in 1 file(s) (0 min so far)" in done.stdout
