"""Limbs add up to the same bytes in any order, and to the exact sum."""

from __future__ import annotations

import math
from functools import reduce
from random import Random

import numpy as np
import pytest

from exp_platform.sums.exact_sums import Limbs


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
