"""Limbs add up to the same bytes in any order, and to the exact sum."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from random import Random

import numpy as np
import pytest

from exp_platform.sums.exact_sums import FAR_REACH, Limbs, in_parts, rounded


def limb_totals(limbs: Limbs, numbers: list[float]) -> list[float]:
    """Each limb of all numbers, added up one by one in the order that they come in."""
    return [reduce(lambda a, b: a + b, limb.tolist()) for limb in limbs.cut(np.array(numbers))]


@pytest.mark.parametrize("rows", [1000, 200_000, 50_000_000])
def test_any_order_gives_the_same_limbs_and_their_sum_is_the_exact_one(rows: int) -> None:
    random = Random(rows)
    numbers = [random.choice((1.0, -1.0, 0.1, 1e-3, 1e-9)) * random.random() for _ in range(1000)]
    forwards = limb_totals(Limbs(rows), numbers)
    backwards = limb_totals(Limbs(rows), sorted(numbers))
    assert forwards == backwards
    total = reduce(lambda a, b: a + b, forwards)
    assert math.isclose(total, math.fsum(numbers), rel_tol=1e-15)


def test_plain_sums_depend_on_the_order_which_is_why_there_are_limbs() -> None:
    random = Random(1)
    numbers = [random.random() * 10 ** random.randrange(-9, 1) for _ in range(1000)]
    assert reduce(lambda a, b: a + b, numbers) != reduce(lambda a, b: a + b, sorted(numbers))


@pytest.mark.parametrize(("rows", "count"), [(0, 2), (100_000, 2), (131_072, 3), (5_000_000, 3), (200_000_000, 3)])
def test_there_are_as_many_limbs_as_reach_seventy_bits_down(rows: int, count: int) -> None:
    limbs = Limbs(rows)
    assert limbs.count == count and limbs.bits * limbs.count >= 70
    assert rows < 2 ** (53 - limbs.bits), "so many limbs of this size add up below 2^53"


def test_numbers_are_cut_until_nothing_is_left_whatever_they_were_scaled_by() -> None:
    random = Random(3)
    numbers = np.array([random.choice((1.0, -1.0, 0.1, 1e-3, 1e-9)) * random.random() for _ in range(300)])
    for shift in (1.0, 2.0**-7):
        limbs = Limbs(300, FAR_REACH)
        total = sum((Fraction(float(limb.sum())) for limb in limbs.cut_out(numbers * shift)), Fraction(0))
        assert total / Fraction(shift) == sum(map(Fraction, numbers.tolist()))
    assert len(list(Limbs(300, FAR_REACH).cut_out(np.ones(4)))) == 1, "whole numbers need one limb"


def test_a_sum_in_parts_says_the_sum_and_not_how_it_was_cut() -> None:
    pieces = [np.array([1e16, 0.1]), np.array([1.0, 0.2]), np.array([1e-9, 0.3])]
    parts, again = in_parts(pieces, 3), in_parts([pieces[2] + 0.0, pieces[0], pieces[1]], 3)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    for row in range(2):
        assert sum(Fraction(float(p[row])) for p in parts) == sum(Fraction(float(p[row])) for p in pieces)
    assert rounded(pieces)[1] == math.fsum([0.1, 0.2, 0.3]) != 0.1 + 0.2 + 0.3


def test_a_sum_beyond_the_largest_double_stays_infinite() -> None:
    big = np.array([1e308, 1.0])
    assert np.array_equal(rounded([big, big, big]), [np.inf, 3.0])
