"""The worked tables in the docstrings are true."""

from __future__ import annotations

import doctest

import pytest

from exp_platform.quality import outcome_volume, verdicts


@pytest.mark.parametrize("module", [verdicts, outcome_volume], ids=lambda module: module.__name__)
def test_worked_tables_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
