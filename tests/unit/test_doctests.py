"""Every worked example in a docstring is true."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from exp_platform.paths import clone_root

PACKAGE = clone_root() / "include" / "exp_platform"
WITH_EXAMPLES = sorted(
    "exp_platform." + ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if ">>>" in file.read_text()
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_worked_examples_are_true(module: str) -> None:
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
