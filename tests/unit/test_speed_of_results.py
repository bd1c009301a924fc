"""The arithmetic of J6 to J8 stays within its budget at the size that the design names."""

from __future__ import annotations

import re

import pytest
from benchmarks import stats_j6


def test_effects_checks_and_decision_of_a_hundred_metrics_take_less_than_two_seconds_of_one_core(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_j6, "ROUNDS", 1)
    stats_j6.main()
    said = capsys.readouterr().out
    assert "from 90,000 statistics rows to 6,000 result rows" in said
    found = re.search(r"J6 to J8: ([\d.]+) s", said)
    assert found and float(found[1]) < 2
