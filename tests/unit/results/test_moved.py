"""Parts of a change add up exactly: exact differences of doubles along a chain of runs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exp_platform.results.moved import FIGURES, PARTS, Chain, Level, Numbers, shown

KEY = ("revenue", "treatment")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


def numbers(effect: float | None, decision: str = "keep_running") -> Numbers:
    level = Level(effect, effect, effect, 0.04, 100.0, "ok" if effect is not None else "insufficient_data")
    return Numbers({KEY: level}, {"all": decision, "treatment": decision}, "trusted", {}, "anytime")


def chain(*effects: float | None) -> Chain:
    """A chain that begins at the first effect; the parts follow in their order, the code once more at the end."""
    first, *others = map(numbers, effects)
    return Chain(first, tuple(zip((*PARTS, "code"), others, strict=True)))  # type: ignore[arg-type]


@given(st.lists(NUMBERS, min_size=8, max_size=8))
def test_the_parts_of_any_doubles_add_up_to_the_whole_change_without_rounding(effects: list[float]) -> None:
    found = chain(*effects)
    parts = [change.by for change in found.changes(KEY, "effect")]
    assert sum((part for part in parts if part is not None), Fraction(0)) == found.total(KEY, "effect")
    assert found.total(KEY, "effect") == Fraction(effects[-1]) - Fraction(effects[0])


def test_parts_of_very_different_size_which_do_not_add_up_as_doubles_add_up_as_fractions() -> None:
    found = chain(0.0, 1e16, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1)
    changes = [change.by or Fraction(0) for change in found.changes(KEY, "effect")]
    assert sum(map(float, changes)) != 0.1  # the reason for fractions
    assert sum(changes) == Fraction(0.1)


def test_code_counts_at_both_ends_of_the_chain() -> None:
    found = chain(1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.75)
    assert {change.part: change.by for change in found.changes(KEY, "effect") if change.by} == {"code": Fraction(3, 4)}


def test_a_part_across_a_missing_number_has_no_size_and_an_untouched_one_is_zero() -> None:
    found = chain(None, None, None, 2.0, 2.0, 3.0, 3.0, 3.0)
    assert [change.by for change in found.changes(KEY, "effect")] == [0, 0, None, 0, 1, 0]
    assert found.total(KEY, "effect") is None


def test_every_word_that_turns_is_told_with_its_part() -> None:
    first, last = numbers(1.0), replace(numbers(2.0, "ship"), trust="caution", interval="fixed")
    found = Chain(first, (("late", first), ("days", last)))
    assert list(found.turns()) == [
        ("days", "trust", "trusted", "caution"),
        ("days", "interval in force", "anytime", "fixed"),
        ("days", "decision", "keep_running", "ship"),
        ("days", "decision on treatment", "keep_running", "ship"),
    ]


@given(st.lists(st.floats(-1000, 1000), min_size=2, max_size=8), st.integers(0, 6))
def test_the_parts_that_are_shown_add_up_to_the_change_that_is_shown(levels: list[float], decimals: int) -> None:
    rounded = [value for value in shown(levels, decimals) if value is not None]
    parts = [round(after - before, decimals) for before, after in pairwise(rounded)]
    assert round(sum(parts), decimals) == round(rounded[-1] - rounded[0], decimals)


def test_numbers_are_taken_from_the_deciding_rows_by_the_interval_in_force() -> None:
    row = {
        "metric_name": "revenue", "variant_id": "treatment", "is_deciding": True, "status": "ok", "control_n": 10,
        "treatment_n": 12, "effect_rel": 0.1, "anytime_rel_ci_low": -0.2, "anytime_rel_ci_high": 0.4,
        "anytime_p_value_rel": 0.6, "effect_rel_ci_low": 0.05, "effect_rel_ci_high": 0.15, "p_value_rel": 0.01,
    }  # fmt: skip
    decisions = [{"variant_id": "all", "decision": "ship", "trust": "trusted", "interval_in_force": "anytime"}]
    other = row | {"is_deciding": False, "effect_rel": 9.0}
    found = Numbers.of([row, other], decisions, [], {"revenue": "relative"})
    assert found.levels[KEY] == Level(0.1, -0.2, 0.4, 0.6, 22.0, "ok")
    fixed = Numbers.of([row], [decisions[0] | {"interval_in_force": "fixed"}], [], {"revenue": "relative"})
    assert fixed.levels[KEY] == Level(0.1, 0.05, 0.15, 0.01, 22.0, "ok")
    assert set(FIGURES) <= set(vars(found.levels[KEY]))
