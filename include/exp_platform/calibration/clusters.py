"""Rollouts of clusters: false positives of the effect and of the pre-trend tests, few clusters and uneven ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.causal.clustered import clustered_did_effect
from exp_platform.causal.pretrends import PanelMoments, pretrend_tests
from exp_platform.stats.sufficient import Array, SufficientStatistics

STUDY = "clusters"
ALPHA = 0.05
AT_ONCE = 500  # rollouts held in memory
OF_ARM = ((45, 5), (15, 5), (40, 10), (20, 20))  # clusters of control and of treatment
# With the rate of an earlier version: of the effect, of any answer, and of the pre-trend tests.
BEFORE = {(45, 5): 0.07}
TOO_FEW = {(18, 2): 0.16, (17, 3): 0.10}
PARALLEL = {(5, 5): 0.95, (20, 20): 0.40, (50, 50): 0.15, (45, 5): UNMEASURED}
SPREADS = {"of one size": 0.0, "of uneven size": 1.0}  # sd of the logarithm of a cluster's units
DAYS = 14


def rows(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """All studies of this module."""
    yield from effects(rng, experiments)
    yield from pre_trends(rng, experiments)


def effects(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Without an effect at most alpha are significant (6% where an arm has five clusters); too few have no answer."""
    for dates in (1, 3):
        for name, spread in SPREADS.items():
            for of_arm in OF_ARM if dates == 1 else OF_ARM[2:]:
                p_value, answered = _p_values(rng, of_arm, spread, dates, experiments)
                come = "" if dates == 1 else f", each on one of {dates} dates"
                case = f"{_named(of_arm)} clusters {name}{come}: significant"
                known = BEFORE.get(of_arm, UNMEASURED if of_arm == (20, 20) else None)
                before = known if (dates, spread) == (1, 0.0) else None
                hits = p_value[answered] < ALPHA
                yield finding(STUDY, case, Promise.AT_MOST, ALPHA, hits, allowance=0.01, before=before)
    for of_arm, before in TOO_FEW.items():
        _, answered = _p_values(rng, of_arm, 0.0, 1, experiments)
        case = f"{_named(of_arm)} clusters: any answer"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, answered, before=f"{before:.0%} significant")


def pre_trends(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Shocks of a cluster's day (sd 0.1) are no trend: parallel rollouts fail in at most alpha, a drift is found."""
    for of_arm, before in PARALLEL.items():
        for name, spread in (("of one size", 0.0), ("of uneven size", 0.5)):
            failed = _failed(rng, of_arm, spread, 0.0, experiments)
            case = f"pre-trends of {_named(of_arm)} clusters {name}: parallel, yet one test fails"
            yield finding(STUDY, case, Promise.AT_MOST, ALPHA, failed, before=None if spread else before)
    between_units = _failed(rng, (20, 20), 0.0, 0.0, experiments, clusters=False)
    case = "pre-trends of 20 and 20 clusters, errors between units: parallel, yet one test fails"
    yield finding(STUDY, case, Promise.EXCEEDS, ALPHA, between_units)
    found = _failed(rng, (20, 20), 0.0, 0.02, experiments)
    yield finding(
        STUDY, "pre-trends of 20 and 20 clusters: a drift of 0.02 a day is found", Promise.REPORTED, 0.8, found
    )


def rollouts(
    rng: np.random.Generator, of_arm: tuple[int, int], spread: float, dates: int, rounds: int
) -> SufficientStatistics:
    """Clusters in one arm each whose units share a shock to their change; lead (arm, date, rollout, cluster).

    With several dates each cluster has units on one of them only.
    """
    clusters = np.arange(sum(of_arm))
    n = np.ceil(100 * np.exp(rng.normal(0, spread, (rounds, len(clusters)))))
    post = 10 + rng.normal(0, 0.3, n.shape) + rng.normal(0, 1, n.shape) / np.sqrt(n)
    v = np.stack([post, np.full_like(post, 10.0)], axis=-1)
    vv = v[..., :, None] * v[..., None, :] + np.eye(2)
    in_arm = np.stack([clusters < of_arm[0], clusters >= of_arm[0]])[:, None, None]
    here = in_arm & (clusters % dates == np.arange(dates)[:, None])[None, :, None]
    units = here * n
    sums = {"n": units, "did_n": units, "did_v": units[..., None] * v, "did_vv": units[..., None, None] * vv}
    return SufficientStatistics(**{**vars(SufficientStatistics.zeros(units.shape, m=2)), **sums})


def panels(
    rng: np.random.Generator, of_arm: tuple[int, int], spread: float, drift: float, rounds: int, shock: float = 0.1
) -> PanelMoments:
    """1,200 units an arm, in clusters with a level of their own and a shock on each day; lead (arm, rollout)."""
    days, arms = np.arange(-DAYS, 0), []
    count = sum(of_arm)
    for arm, mine in enumerate((slice(0, of_arm[0]), slice(of_arm[0], count))):
        size = np.exp(rng.normal(0, spread, (rounds, of_arm[arm])))
        n = np.zeros((rounds, count))
        n[:, mine] = np.ceil(1200 * size / size.sum(axis=1, keepdims=True))
        noise = rng.normal(0, 1, (rounds, count, DAYS)) / np.sqrt(np.maximum(n, 1))[..., None]
        level = rng.normal(3, 0.2, (rounds, count, 1)) + rng.normal(0, shock, (rounds, count, DAYS))
        arms.append((n, n[..., None] * (level + noise + arm * drift * days)))
    n, sums = (np.stack(parts) for parts in zip(*arms, strict=True))
    units, daily = n.sum(axis=2), sums.sum(axis=2)
    products = daily[..., :, None] * daily[..., None, :] / units[..., None, None]
    return PanelMoments(days, units, daily, products + units[..., None, None] * np.eye(DAYS), n, sums)


def _p_values(
    rng: np.random.Generator, of_arm: tuple[int, int], spread: float, dates: int, experiments: int
) -> tuple[Array, NDArray[np.bool_]]:
    """The p of each rollout, and whether it has an answer."""
    parts = []
    for start in range(0, experiments, AT_ONCE):
        arms = rollouts(rng, of_arm, spread, dates, min(AT_ONCE, experiments - start))
        effect = clustered_did_effect(arms, by_cohort_date=True)
        parts.append((effect.p_value[0], effect.ok[0]))
    p_values, answered = zip(*parts, strict=True)
    return np.concatenate(p_values), np.concatenate(answered)


def _failed(
    rng: np.random.Generator,
    of_arm: tuple[int, int],
    spread: float,
    drift: float,
    experiments: int,
    *,
    clusters: bool = True,
) -> Array:
    """True when either test of each rollout failed."""
    found = []
    for start in range(0, experiments, AT_ONCE):
        panel = panels(rng, of_arm, spread, drift, min(AT_ONCE, experiments - start))
        if not clusters:
            panel = PanelMoments(panel.relative_days, panel.n, panel.sums, panel.products)
        found.append((pretrend_tests(panel).verdict[0] == "failed").any(axis=-1))
    return np.concatenate(found)


def _named(of_arm: tuple[int, int]) -> str:
    return f"{of_arm[0]} and {of_arm[1]}"
