"""Error rates of the gates: SRM, guardrails, pre-trends and the family of secondary metrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.calibration.one_look import ALPHA
from exp_platform.calibration.worlds import COUNT, SPLITS, Sizes, simulate, split
from exp_platform.causal.pretrends import PanelMoments, pretrend_tests
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.multiplicity import holm
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.srm import chi_square, sequential_p
from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import SRM_DOUBTS_BELOW, SRM_FAILS_BELOW

DAYS = 30
MARGIN = 0.05
ROWS = 6  # guardrails × arms
SHARES = {"50/50": (0.5, 0.5), "90/10": (0.9, 0.1), "three arms": (0.4, 0.3, 0.3)}


def sample_ratio(rng: np.random.Generator, experiments: int, per_day: int = 400) -> Iterator[Measured]:
    """SRM under daily looks: false alarms without a mismatch, detection of one of two points."""
    for name, allocation in SHARES.items():
        shares = np.array(allocation)
        counts = rng.multinomial(per_day, shares, size=(experiments, DAYS)).astype(float)
        yield finding(
            f"SRM, {DAYS} daily looks",
            f"{name}: sequential p ever below {SRM_FAILS_BELOW}",
            Promise.AT_MOST,
            SRM_FAILS_BELOW,
            sequential_p(counts, shares)[:, -1] < SRM_FAILS_BELOW,
        )
        fixed = chi_square(np.cumsum(counts, axis=1), shares)[1].min(axis=1)
        yield finding(
            f"SRM, {DAYS} daily looks",
            f"{name}: chi-square ever below {SRM_FAILS_BELOW}",
            Promise.EXCEEDS,
            SRM_FAILS_BELOW,
            fixed < SRM_FAILS_BELOW,
        )
        final = chi_square(counts.sum(axis=1), shares)[1]
        for word, below in (("fails", SRM_FAILS_BELOW), ("doubts", SRM_DOUBTS_BELOW)):
            case = f"{name}: chi-square {word} at the planned end, below {below}"
            yield finding(f"SRM, {DAYS} daily looks", case, Promise.AT_MOST, below, final < below)
    yield from _mismatches(rng, experiments, per_day)


def _mismatches(rng: np.random.Generator, experiments: int, per_day: int) -> Iterator[Measured]:
    """How often a mismatch is found: by the chi-square at the planned end in as many as its formula says."""
    users = DAYS * per_day
    for allocation, before in ((SHARES["50/50"], 0.03), (SHARES["90/10"], UNMEASURED)):
        shares = np.array(allocation)
        for drift in (0.01, 0.02, 0.04):
            drawn = shares + np.array([drift, -drift])
            counts = rng.multinomial(per_day, drawn, size=(experiments, DAYS)).astype(float)
            found = sequential_p(counts, shares)[:, -1] < SRM_FAILS_BELOW
            final = chi_square(counts.sum(axis=1), shares)[1]
            promised, dealt = (f"{100 * s[0]:g}/{100 * s[1]:g}" for s in (shares, drawn))
            case = f"{promised} that is {dealt}, {users:,} users"
            formula = stats.ncx2.sf(stats.chi2.isf(SRM_FAILS_BELOW, 1), 1, users * float((drift**2 / shares).sum()))
            either = found | (final < SRM_FAILS_BELOW)
            study = f"SRM, {DAYS} daily looks"
            yield finding(study, f"{case}: found by sequential", Promise.REPORTED, 0.8, found)
            what, at_first = f"{case}: found by it or the chi-square at the end", before if drift == 0.01 else None
            yield finding(study, what, Promise.AT_LEAST, formula, either, before=at_first, allowance=0.01)
            doubted = found | (final < SRM_DOUBTS_BELOW)
            yield finding(study, f"{case}: found, or a caution", Promise.REPORTED, 0.8, doubted)


def guardrails(rng: np.random.Generator, experiments: int, total: int = 4_000) -> Iterator[Measured]:
    """Guardrail errors: passing what harms by the margin, stopping what harms nobody."""
    study = "guardrails, margin 5%"
    for name, shares in SPLITS.items():
        units = split(total, shares)
        for anytime in (False, True):
            horizon = f"{name}, {'confidence sequence' if anytime else 'planned end'}"
            at_margin = _verdicts(rng, experiments, units, -MARGIN, anytime, rows=1)
            case = f"{horizon}: harm is exactly the margin, yet passes"
            yield finding(study, case, Promise.AT_MOST, ALPHA / 2, at_margin == "pass")
            harmless = _verdicts(rng, experiments, units, 0.0, anytime, rows=ROWS)
            stopped = (harmless == "fail").any(axis=1)
            case = f"{horizon}: no harm in {ROWS} rows, yet one fails"
            yield finding(study, case, Promise.AT_MOST, ALPHA / 2, stopped)
            severe = _verdicts(rng, experiments, split(4 * total, shares), -3 * MARGIN, anytime, rows=1)
            yield finding(study, f"{horizon}: harm is three margins, found", Promise.REPORTED, 0.8, severe == "fail")


def pre_trends(rng: np.random.Generator, experiments: int, per_arm: int = 600, days: int = 14) -> Iterator[Measured]:
    """Parallel groups with a standing gap fail a pre-trend test in at most 5%; drifting ones are found."""
    relative = np.arange(-days, 0)
    for drift, promise, target in ((0.0, Promise.AT_MOST, ALPHA), (0.03, Promise.REPORTED, 0.8)):
        n = np.full((2, experiments), float(per_arm))
        sums, products = np.empty((2, experiments, days)), np.empty((2, experiments, days, days))
        for arm in range(2):
            for i in range(experiments):
                rate = rng.gamma(2.0, 0.5 + 0.1 * arm, (per_arm, 1)) * (1 + arm * drift * relative)
                daily = rng.poisson(np.maximum(rate, 0.0)).astype(float)
                sums[arm, i], products[arm, i] = daily.sum(axis=0), daily.T @ daily
        tests = pretrend_tests(PanelMoments(relative, n, sums, products))
        case = "parallel with a gap: either test fails" if drift == 0 else f"drift of {drift:.0%} a day: found"
        yield finding("pre-trends, 14 days", case, promise, target, (tests.verdict == "failed").any(axis=-1))


def secondary_metrics(rng: np.random.Generator, experiments: int, metrics: int = 10) -> Iterator[Measured]:
    """Holm over ten secondary metrics without an effect: any below alpha in at most alpha of the experiments."""
    for name, shares in SPLITS.items():
        effect = mean_effect(simulate(COUNT, rng, experiments * metrics, split(1_000, shares)))
        p_values = effect.p_value.reshape(experiments, metrics)
        case = f"{metrics} metrics without an effect, {name}, any significant"
        for how, adjusted, promise in (
            ("unadjusted", p_values, Promise.EXCEEDS),
            ("after Holm", holm(p_values, axis=1), Promise.AT_MOST),
        ):
            hits = (adjusted < ALPHA).any(axis=1)
            yield finding("secondary metrics", f"{case} {how}", promise, ALPHA, hits)


def _verdicts(rng: np.random.Generator, experiments: int, units: Sizes, lift: float, anytime: bool, rows: int) -> Array:
    """Statuses (experiment, row); with `anytime` at the look of the planned size."""
    sums = simulate(COUNT, rng, experiments * rows, units, lift)
    effect = with_anytime(mean_effect(sums), sum(units))[0, :, 0]
    table = effect[np.arange(experiments * rows).reshape(experiments, rows)]
    return assess_guardrails(table, MARGIN, True, anytime=anytime, axis=1).status
