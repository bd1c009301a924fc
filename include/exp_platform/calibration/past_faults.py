"""Answers that earlier versions gave and must not give: each case in equal arms and at nine to one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from exp_platform.calibration import clusters
from exp_platform.calibration.edges import MARGIN, RARE, simulate_sums
from exp_platform.calibration.findings import UNMEASURED, Measured, Promise, finding
from exp_platform.calibration.one_metric import experiment_on_sales, sales
from exp_platform.calibration.worlds import Sizes
from exp_platform.causal.clustered import FEW_CLUSTERS
from exp_platform.causal.did import UNIT_LEVEL_ERRORS, did_effect
from exp_platform.config.models import Window
from exp_platform.decision.evidence import evidence
from exp_platform.decision.rules import Moment, decide_arm
from exp_platform.decision.trust import TrustVerdict
from exp_platform.results.cube import Axes, Cube
from exp_platform.results.cuped_gains import covariate_adjusted
from exp_platform.results.effects import means
from exp_platform.results.plan import AnalysisPlan
from exp_platform.stats.ab import mean_effect
from exp_platform.stats.guardrail import assess_guardrails
from exp_platform.stats.reasons import NO_VARIANCE
from exp_platform.stats.sequential import with_anytime
from exp_platform.stats.sufficient import SufficientStatistics
from exp_platform.status import Method, PretrendVerdict, ResultStatus, Trust

STUDY = "answers that must not be given"
ALPHA = 0.05
SMALLEST_ALPHA = 1e-9
# The first is 10 of 1,800 against 0 of 200; the large ones have enough events in control for an answer.
WITHOUT_EVENTS: tuple[tuple[Sizes, float | str], ...] = (
    ((1_800, 200), 1.0),
    ((1_000, 1_000), UNMEASURED),
    ((36_000, 4_000), UNMEASURED),
    ((10_000, 10_000), UNMEASURED),
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """All studies of this module."""
    yield from arm_without_events(rng, experiments)
    yield from window_without_events(rng, experiments)
    yield from small_spreads(rng, experiments)
    yield from small_alphas(rng, experiments)
    yield from silent_doubts()
    yield from cluster_named_alone(rng, experiments)


def arm_without_events(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """No unit of treatment has the event: an interval has a width, and a guardrail is not passed by so few users."""
    for units, before in WITHOUT_EVENTS:
        arms = simulate_sums(RARE, rng, experiments, units)
        for sums in (arms.y, arms.yy, arms.yyy):
            sums[1] = 0.0
        if units == (1_800, 200):
            arms.y[0] = arms.yy[0] = arms.yyy[0] = 10.0
        effect = with_anytime(mean_effect(arms, binary=True), sum(units))
        width = [
            high - low
            for low, high in (
                (effect.effect_abs_ci_low, effect.effect_abs_ci_high),
                (effect.anytime_ci_low, effect.anytime_ci_high),
            )
        ]
        case = f"no event in treatment, {_named(units)} ({effect.ok.mean():.0%} answered): an interval of no width"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, (width[0] <= 0) | (width[1] <= 0), before=before)
        if sum(units) < 10_000:
            passes = assess_guardrails(effect[0, :, 0], MARGIN, False, axis=0).status == "pass"
            case = f"no event in treatment, {_named(units)}: a guardrail passes"
            yield finding(STUDY, case, Promise.AT_MOST, 0.0, passes, before=before)


def window_without_events(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Difference in differences of a metric that nobody has after the start: no answer."""
    for units, before in (((309, 40), 1.0), ((300, 300), UNMEASURED)):
        n = np.broadcast_to(np.array(units, dtype=float)[:, None, None], (2, 1, experiments))
        had = rng.binomial(n.astype(int), 0.4).astype(float)
        v = np.stack([np.zeros_like(had), had], axis=-1)
        vv = v[..., :, None] * np.eye(2)
        sums = {"n": n, "did_n": n, "did_v": v, "did_vv": vv}
        arms = SufficientStatistics(**{**vars(SufficientStatistics.zeros(n.shape, m=2)), **sums})
        effect = did_effect(arms, rollout=True, by_cohort_date=True, min_units=40)
        case = f"DiD of a metric without an event in its window, {_named(units)}: any answer"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, effect.ok, before=before)


def small_spreads(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """Units that differ by little beside their size are not without variance: the reason is another one."""
    for units, before in (((500, 500), 1.0), ((900, 100), UNMEASURED)):
        sides = []
        for n in units:
            y = 1e6 * (1 + 3e-7 * rng.normal(0, 1, (experiments, n)))
            empty = vars(SufficientStatistics.zeros((experiments,)))
            sums = {"n": np.full(experiments, float(n)), "y": y.sum(axis=1), "yy": (y**2).sum(axis=1)}
            sides.append(SufficientStatistics(**{**empty, **sums, "yyy": (y**3).sum(axis=1)}))
        reason = mean_effect(SufficientStatistics.stack(sides)).reason
        said = np.array([NO_VARIANCE in words for words in reason.ravel()])
        case = f"units that spread by 3e-7 of their mean, {_named(units)}: said to have no variance"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, said, before=before)


def small_alphas(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """The smallest alpha that a contract may have still gives intervals with ends."""
    for units, before in (((10_000, 10_000), "alpha 1e-17: all"), ((18_000, 2_000), UNMEASURED)):
        effect = mean_effect(simulate_sums(RARE, rng, experiments, units), binary=True, alpha=SMALLEST_ALPHA)
        looks = with_anytime(effect, sum(units))
        ends = (looks.effect_abs_ci_low, looks.effect_abs_ci_high, looks.anytime_ci_low, looks.anytime_ci_high)
        endless = looks.ok & ~np.all([np.isfinite(end) for end in ends], axis=0)
        case = f"alpha {SMALLEST_ALPHA:g}, {RARE.name}, {_named(units)}: an interval without an end"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, endless, before=before)


def silent_doubts() -> Iterator[Measured]:
    """A rollout that ships in spite of a doubt about its errors says so."""
    plan = _rollout(cluster=None)
    numbers: dict[str, float | None] = dict.fromkeys(("effect", "effect_abs", "treatment_mean"), 1.0)
    numbers |= {"effect_abs_ci_low": 0.5, "effect_abs_ci_high": 1.5, "anytime_ci_low": 0.4, "anytime_ci_high": 1.6}
    numbers |= {"p_value": 1e-6, "anytime_p_value": 1e-5, "p_value_adjusted": 1e-6, "treatment_sd": None}
    tests = [{"variant_id": "treatment", "metric_name": "sales", "verdict": PretrendVerdict.PASSED.value}]
    for word in (FEW_CLUSTERS, UNIT_LEVEL_ERRORS):
        row = {"status": ResultStatus.OK.value, "reason": word, "variant_id": "treatment", **numbers}
        (arm,) = evidence({("sales", "treatment"): row}, [], tests, plan)
        found = decide_arm(arm, TrustVerdict(Trust.TRUSTED, ()), Moment(True, 28, ALPHA))
        case = f"a rollout is decided ({found.decision.value}) without a word on {word}"
        yield finding(STUDY, case, Promise.AT_MOST, 0.0, [word not in found.reasons], before=1.0)


def cluster_named_alone(rng: np.random.Generator, experiments: int) -> Iterator[Measured]:
    """A rollout whose registry names `cluster: store` and no dimension, through J6: errors are those of stores."""
    plan = _rollout(cluster="store")
    for of_arm in ((20, 20), (45, 5)):
        stores = clusters.rollouts(rng, of_arm, 0.0, 1, experiments)
        whole = stores.sum(axis=3)
        both = {
            name: np.concatenate([np.expand_dims(total, 3), vars(stores)[name]], axis=3)
            for name, total in vars(whole).items()
        }
        names = tuple(f"store={number:03}" for number in range(sum(of_arm)))
        axes = Axes(plan.arms, (START.date(),), ("all", *names))
        stats = SufficientStatistics(**both)
        cube = Cube(plan.metrics * experiments, axes, stats, stats.n)
        read = plan.experiment.attributes_read == ("store",)
        effect = means(cube, plan, covariate_adjusted(cube, plan).effect)[Method.DID][0, :, 0]
        case = f"{of_arm[0]} and {of_arm[1]} stores, `cluster: store` alone, through J6"
        hits = (effect.p_value < ALPHA) | (not read)
        before = "errors between units" if of_arm == (20, 20) else UNMEASURED
        yield finding(clusters.STUDY, case, Promise.AT_MOST, ALPHA, hits, allowance=0.01, before=before)
        between = did_effect(whole, by_cohort_date=True, rollout=True)
        unread = f"{of_arm[0]} and {of_arm[1]} stores, errors between units: significant"
        yield finding(clusters.STUDY, unread, Promise.EXCEEDS, ALPHA, between.p_value < ALPHA)


def _rollout(cluster: str | None) -> AnalysisPlan:
    """A finished rollout with one metric."""
    metric, end = sales(Window(end_hours=168)), START + timedelta(days=28)
    experiment = experiment_on_sales("exp_rollout", "A rollout", START, end, design="rollout", cluster=cluster)
    cutoff = START + timedelta(days=60)
    return AnalysisPlan(experiment, (metric,), cutoff.date() - timedelta(days=1), cutoff)


def _named(units: Sizes) -> str:
    return f"{units[0]:,} against {units[1]:,}"
