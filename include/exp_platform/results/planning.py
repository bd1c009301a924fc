"""Planning from an experiment's own sums: the users and days that an effect needs, and what a margin can show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pyarrow as pa

from exp_platform.config.models import Guardrail, Metric
from exp_platform.errors import ConfigError, ContractViolation
from exp_platform.results.cube import TABLE, Cube, cubes, read_axes
from exp_platform.results.effects import by_method
from exp_platform.results.plan import AnalysisPlan, Interval, metric_end
from exp_platform.stats.ab import MIN_EVENTS
from exp_platform.stats.effect import Effect
from exp_platform.stats.power import chance_to_pass, required_units, required_units_anytime, share_sd
from exp_platform.status import Method

MOST_USERS = 1e10  # more than there are people
MOST_ARMS = 100


@dataclass(frozen=True)
class Moments:
    """A metric's level and spread over users, as the latest statistics of an experiment show them."""

    metric: str
    metric_version: int
    experiment_id: str
    dt: date
    users: int  # analysed, of all arms
    users_per_day: float
    level: float  # of control, in the metric's unit
    plain_sd: float  # of a user's value, in the metric's unit; of a ratio or a quantile what acts as one
    sd: float  # what the covariates leave of it
    with_value: float  # share of the users that have a value
    share: bool
    alpha: float
    min_units: int  # with a value, that each arm needs for an answer
    window_days: float  # until the last user's window has closed

    @property
    def variance_reduction(self) -> float:
        """Share of the variance that the covariates take away."""
        return 1 - (self.sd / self.plain_sd) ** 2


@dataclass(frozen=True)
class Ask:
    """An effect as a person gave it: a fraction of control's level, or a change in the metric's unit."""

    size: float
    relative: bool


@dataclass(frozen=True)
class Horizon:
    """The users and days that one kind of interval needs."""

    interval: Interval
    users_per_arm: int
    users: int  # of all arms
    days: int  # in which they arrive
    days_to_answer: int  # until the window of the last of them has closed
    users_per_arm_plain: int  # without covariates


@dataclass(frozen=True)
class PowerPlan:
    """An effect, the moments that it is planned from, and the needs of both intervals."""

    moments: Moments
    effect_abs: float  # in the metric's unit
    effect_rel: float | None  # null where control's level is 0
    scale: Literal["relative", "absolute"]
    arms: int
    power: float
    horizons: tuple[Horizon, ...]


def moments_of(table: pa.Table, metric: Metric, plan: AnalysisPlan) -> Moments:
    """The moments of one metric from the statistics of one experiment; refused where no arm has an answer."""
    (cube,) = cubes(table, [metric], read_axes(table, plan.arms))
    effects, _ = by_method(table, cube, plan)
    plain, adjusted = (effects[method][:, 0, 0] for method in (Method.AB, Method.CUPED))
    if not adjusted.ok.any():
        raise ContractViolation(
            f"{TABLE}: {plan.experiment.experiment_id} as of {plan.dt} has no answer on metric '{metric.name}' "
            f"({adjusted.reason[0]}): let it run on, or name another experiment with --like"
        )
    included = (cube.stats.n + cube.stats.n_null)[:, :, 0, 0]
    days = [day for day, users in zip(cube.axes.dates, included.sum(axis=0), strict=True) if users > 0]
    users = float(included.sum())
    return Moments(
        metric=metric.name,
        metric_version=metric.version,
        experiment_id=plan.experiment.experiment_id,
        dt=plan.dt,
        users=int(users),
        users_per_day=users / ((days[-1] - days[0]).days + 1),
        level=float(adjusted.control_mean[0]),
        plain_sd=unit_sd(plain),
        sd=unit_sd(adjusted),
        with_value=_with_value(cube, metric),
        share=metric.is_share,
        alpha=plan.experiment.alpha,
        min_units=plan.experiment.min_units,
        window_days=(metric_end(metric, plan.experiment) - plan.experiment.end_ts).total_seconds() / 86_400,
    )


def unit_sd(effect: Effect) -> float:
    """The spread of one unit that gives the errors of an effect, over its arms that have an answer."""
    ok, n = effect.ok, effect.treatment_n
    variance = effect.se_abs**2 * effect.control_n * n / (effect.control_n + n)
    return float(np.sqrt(np.average(variance[ok], weights=n[ok])))


def asked_effect(words: str, relative: bool | None, metric: Metric) -> Ask:
    """`2%` or `-0.5`; without a word on the scale a percentage is relative and a number is in the metric's unit."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%?)\s*", words, flags=re.IGNORECASE)
    size = float(match[1]) if match else math.nan
    if not math.isfinite(size):
        raise ConfigError(f"--effect: found '{words}', expected a number such as 2% or 0.5")
    if size == 0:
        raise ConfigError(f"--effect: found {words}, must not be 0: no number of users finds an effect of nothing")
    percent = match is not None and match[2] == "%"
    relative = percent if relative is None else relative
    if percent and not relative and not metric.is_share:
        raise ConfigError(
            f"--effect: found {words} with --absolute, but '{metric.name}' is no share: give a number in its unit"
        )
    return Ask(size / 100 if percent else size, relative)


def plan_power(moments: Moments, ask: Ask, arms: int = 2, power: float = 0.8) -> PowerPlan:
    """The users of each of `arms` equal arms and the days that both intervals need to find the effect.

    Several treatment arms are judged together by Holm, so that each is planned at its share of alpha.
    """
    if not 2 <= arms <= MOST_ARMS:
        raise ConfigError(f"--arms: found {arms}, must lie between 2 and {MOST_ARMS}, control included")
    if not 0.5 <= power <= 0.999:
        raise ConfigError(f"--power: found {power:g}, must lie between 0.5 and 0.999")
    size = _size(moments, ask)
    alpha = moments.alpha / (arms - 1)

    def fixed(sd: float) -> int:
        return required_units(sd, size, alpha=alpha, power=power)

    def anytime(sd: float) -> int:
        return required_units_anytime(sd, size, alpha=moments.alpha, power=power, arms=arms, comparisons=arms - 1)

    return PowerPlan(
        moments=moments,
        effect_abs=size,
        effect_rel=size / abs(moments.level) if moments.level else None,
        scale="relative" if ask.relative else "absolute",
        arms=arms,
        power=power,
        horizons=(_horizon("fixed", fixed, moments, size, arms), _horizon("anytime", anytime, moments, size, arms)),
    )


def chance_without_harm(
    moments: Moments, guardrail: Guardrail, metric: Metric, users: tuple[float, float], alpha: float
) -> float:
    """Chance that a guardrail passes at the planned end when nothing is harmed; `users` of control and treatment.

    A relative margin is judged by the difference between treatment and a control that is moved by the margin.
    """
    control, treatment = (max(count * moments.with_value, 2.0) for count in users)
    margin, moved = guardrail.margin, 1.0
    if guardrail.max_relative_harm is not None:
        moved += margin if metric.direction == "decrease" else -margin
        margin *= abs(moments.level)
    se = moments.sd * math.sqrt(1 / treatment + moved**2 / control)
    return float(chance_to_pass(margin, se, control + treatment - 2, alpha))


def _size(moments: Moments, ask: Ask) -> float:
    """The effect in the metric's unit; refused where it is beyond reach."""
    if ask.relative and moments.level == 0:
        raise ConfigError(
            f"--effect: control's '{moments.metric}' is 0 in {moments.experiment_id}, of which nothing is a share: "
            "give a number with --absolute"
        )
    size = ask.size * abs(moments.level) if ask.relative else ask.size
    reached = moments.level + size
    if moments.share and not 0 <= reached <= 1:
        raise ConfigError(
            f"--effect: beyond reach: '{moments.metric}' would go from {moments.level:.4g} to {reached:.4g}, and a "
            "share lies between 0 and 1"
        )
    return size


def _horizon(interval: Interval, needed: Callable[[float], int], moments: Moments, size: float, arms: int) -> Horizon:
    per_arm, plain = (_users(needed, moments, spread, size) for spread in (moments.sd, moments.plain_sd))
    if arms * max(per_arm, plain) > MOST_USERS:
        raise ConfigError(
            f"--effect: beyond reach: a change of '{moments.metric}' by {size:.3g} needs more than "
            f"{MOST_USERS:,.0f} users"
        )
    days = math.ceil(arms * per_arm / moments.users_per_day)
    return Horizon(interval, per_arm, arms * per_arm, days, math.ceil(days + moments.window_days), plain)


def _users(needed: Callable[[float], int], moments: Moments, sd: float, size: float) -> int:
    """Users of an arm: those with a value, and the others that come along; at least what an answer needs."""
    least = float(moments.min_units)
    if moments.share:
        left = (sd / moments.plain_sd) if moments.plain_sd else 1.0
        middle = moments.level + size / 2
        units = needed(left * share_sd(moments.level, size))
        least = max(least, MIN_EVENTS / min(middle, 1 - middle))
    else:
        units = needed(sd)
    return math.ceil(max(units, least) / moments.with_value)


def _with_value(cube: Cube, metric: Metric) -> float:
    """Share of users with a value; where only those with a closed window count, of these."""
    units = float(cube.stats.n[:, :, 0, 0].sum())
    if metric.maturity_in_force == "complete":
        return min(units / float(cube.n_mature[:, :, 0, 0].sum()), 1.0)
    return units / (units + float(cube.stats.n_null[:, :, 0, 0].sum()))
