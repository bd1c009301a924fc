"""Reasons as sentences: no word that an estimator can say reaches a reader as a bare word."""

from __future__ import annotations

import pytest

from exp_platform.causal import clustered, did, lacking
from exp_platform.memo.wording import sentence
from exp_platform.results import analysis, effects, guardrails, series
from exp_platform.stats import cuped, quantile, ratio, reasons, sequential

MODULES = (reasons, sequential, cuped, ratio, quantile, did, lacking, clustered, effects, analysis, guardrails, series)


def reason_words() -> list[str]:
    """Module constants that hold one word in small letters: the reasons, by this code's habit."""
    found = {
        value
        for module in MODULES
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and "_" in value and value == value.lower()
    }
    return sorted(found)


def test_the_reasons_are_found_where_they_are_kept() -> None:
    assert {"no_variance", "cohort_dates_with_one_cluster", "no_relative_effect"} <= set(reason_words())


@pytest.mark.parametrize("word", reason_words())
def test_every_reason_has_a_sentence(word: str) -> None:
    text = sentence(word)
    assert text.endswith(".") and word.replace("_", " ") != text
