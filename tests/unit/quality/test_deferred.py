"""Modules that are imported when something of theirs is asked for."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from exp_platform.quality.deferred import deferred, no_search_for_garbage

OF_GREAT_EXPECTATIONS = """
import sys
from exp_platform.quality.gx import load_great_expectations

load_great_expectations()
print(sorted({"altair", "scipy.stats"} & set(sys.modules)))
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as user
print(user.stats.entropy([1, 1]), user.alt.Chart.__name__)
import altair, scipy.stats
print(user.stats.entropy is scipy.stats.entropy, user.alt.Chart is altair.Chart)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported, and that has one value."""
    (tmp_path / "a_module_for_later.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "a_module_for_later"
    sys.modules.pop("a_module_for_later", None)


def test_a_module_is_imported_when_something_of_it_is_asked_for(module: str) -> None:
    with deferred(module):
        stand_in = import_module(module)
    assert module not in sys.modules
    assert stand_in.VALUE == 7
    assert sys.modules[module] is not stand_in and sys.modules[module].VALUE == 7


def test_what_is_asked_for_meanwhile_is_there_at_once(module: str) -> None:
    with deferred(module):
        assert import_module(module).VALUE == 7
    assert sys.modules[module].VALUE == 7


def test_a_part_of_a_package_can_be_imported_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may do so: Great Expectations is imported in a thread of its own."""
    (tmp_path / "a_package_for_later").mkdir()
    (tmp_path / "a_package_for_later" / "__init__.py").write_text("")
    (tmp_path / "a_package_for_later" / "part.py").write_text("VALUE = 8\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with deferred("a_package_for_later"):
        assert import_module("a_package_for_later.part").VALUE == 8


def test_a_module_that_is_imported_already_is_left_alone(module: str) -> None:
    imported = import_module(module)
    with deferred(module):
        assert import_module(module) is imported
    assert sys.modules[module] is imported


def test_what_the_module_lacks_is_an_error_that_names_it(module: str) -> None:
    with deferred(module):
        stand_in = import_module(module)
    with pytest.raises(AttributeError, match=r"a_module_for_later.*OTHER"):
        _ = stand_in.OTHER


def test_great_expectations_comes_without_charts_and_distributions_until_they_are_used() -> None:
    command = [sys.executable, "-c", OF_GREAT_EXPECTATIONS]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert said.splitlines() == ["[]", "0.6931471805599453 Chart", "True True"]


@pytest.mark.parametrize("searching", [True, False])
def test_no_garbage_is_looked_for_meanwhile_and_afterwards_as_before(searching: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if searching else gc.disable)()
        with pytest.raises(ImportError), no_search_for_garbage():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is searching
    finally:
        (gc.enable if before else gc.disable)()
