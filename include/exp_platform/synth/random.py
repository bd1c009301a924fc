"""Random numbers as Spark expressions: functions of seed, user and purpose alone, whatever the partitioning."""

from __future__ import annotations

import math
from statistics import NormalDist

from pyspark.sql import Column
from pyspark.sql import functions as F

KEY = "_key"  # hash of seed and user; every frame of the generator carries it


def user_key(seed: int, user_id: Column) -> Column:
    """The user's own 64 random bits, from which all of the user's numbers are drawn."""
    return F.xxhash64(F.lit(seed), user_id)


def uniform(purpose: str, *further: Column) -> Column:
    """A uniform number in (0, 1) for a row's `_key`; `further` distinguishes several draws for one purpose."""
    bits = F.shiftrightunsigned(F.xxhash64(F.col(KEY), F.lit(purpose), *further), 11)
    return (bits.cast("double") + F.lit(0.5)) * F.lit(2.0**-53)


def normal(purpose: str, *further: Column) -> Column:
    """A standard normal number, by the Box-Muller method."""
    radius = F.sqrt(F.lit(-2.0) * F.log(uniform(f"{purpose}/radius", *further)))
    return radius * F.cos(F.lit(2 * math.pi) * uniform(f"{purpose}/angle", *further))


def threshold(probability: float) -> Column:
    """The threshold that a standard normal number exceeds with this probability."""
    if probability <= 0:
        return F.lit(float("inf"))
    return F.lit(float("-inf")) if probability >= 1 else F.lit(NormalDist().inv_cdf(1 - probability))


def exponential(mean: float, purpose: str, *further: Column) -> Column:
    """An exponential number with the given mean."""
    return F.lit(-mean) * F.log(uniform(purpose, *further))


def pick(purpose: str, shares: dict[str, float]) -> Column:
    """One of the keys of `shares`, each with its share as probability; the shares must add up to 1."""
    draw = uniform(purpose)
    *head, last = shares
    reached, chosen = 0.0, None
    for value in head:
        reached += shares[value]
        chosen = F.when(draw < reached, value) if chosen is None else chosen.when(draw < reached, value)
    return F.lit(last) if chosen is None else chosen.otherwise(last)
