"""Random numbers as Spark expressions: a pure function of (seed, user, purpose), so no partitioning can change them."""

from __future__ import annotations

import math
from statistics import NormalDist

from pyspark.sql import Column
from pyspark.sql import functions as F

KEY = "_key"  # hash of seed and user; every frame of the generator carries it


def user_key(seed: int, user_id: Column) -> Column:
    """The user's own source of randomness, 64 bits."""
    return F.xxhash64(F.lit(seed), user_id)


def uniform(purpose: str, *further: Column) -> Column:
    """A number in (0, 1), for the frame's `_key`; `further` tells the draws of one purpose apart."""
    bits = F.shiftrightunsigned(F.xxhash64(F.col(KEY), F.lit(purpose), *further), 11)
    return (bits.cast("double") + F.lit(0.5)) * F.lit(2.0**-53)


def normal(purpose: str, *further: Column) -> Column:
    """A standard normal number (Box and Muller)."""
    radius = F.sqrt(F.lit(-2.0) * F.log(uniform(f"{purpose}/radius", *further)))
    return radius * F.cos(F.lit(2 * math.pi) * uniform(f"{purpose}/angle", *further))


def threshold(probability: float) -> Column:
    """What a standard normal number passes with this probability."""
    if probability <= 0:
        return F.lit(float("inf"))
    return F.lit(float("-inf")) if probability >= 1 else F.lit(NormalDist().inv_cdf(1 - probability))


def exponential(mean: float, purpose: str, *further: Column) -> Column:
    """An exponential number with the given mean."""
    return F.lit(-mean) * F.log(uniform(purpose, *further))


def pick(purpose: str, shares: dict[str, float]) -> Column:
    """One of the keys, with the given shares; they add up to 1."""
    draw = uniform(purpose)
    *head, last = shares
    reached, chosen = 0.0, None
    for value in head:
        reached += shares[value]
        chosen = F.when(draw < reached, value) if chosen is None else chosen.when(draw < reached, value)
    return F.lit(last) if chosen is None else chosen.otherwise(last)
