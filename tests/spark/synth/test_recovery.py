"""The estimators find the generator's true effects: unbiased, and inside the interval as often as it promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy import stats

from exp_platform.stats.ab import mean_effect
from exp_platform.stats.cuped import cuped_effect
from exp_platform.stats.effect import Effect
from exp_platform.stats.sufficient import SufficientStatistics
from exp_platform.synth.frames import draw
from exp_platform.synth.generation import DAY, SynthPlan

pytestmark = pytest.mark.spark
EXPERIMENTS, USERS = 60, 1500
SOURCES = {"conversion": "conversion", "revenue": "revenue", "sessions": "sessions"}


@pytest.fixture(scope="module")
def units(spark: Any, plan: SynthPlan) -> pd.DataFrame:
    """One row per exposed user of 60 experiments: number of the experiment, arm, both worlds' totals, covariate."""
    scenario = plan.scenario.model_copy(update={"n_users": EXPERIMENTS * USERS})
    many = replace(plan, scenario=scenario, metrics=())
    world = draw(spark, many)
    at, anchor, assigned = F.col("_at"), F.col("_first_exposure_us"), F.col("_assign_us")
    after = (at >= anchor) & (at < anchor + 7 * DAY)
    before = (at < assigned) & (at >= assigned - many.history_us)
    totals = (
        world.candidates.where(F.col("metric_name").isin(*SOURCES.values()) & anchor.isNotNull())
        .groupBy("user_id")
        .agg(
            *[
                F.sum(F.when(when & (F.col("metric_name") == source), F.col(value))).alias(f"{name}/{column}")
                for name, source in SOURCES.items()
                for column, when, value in (
                    ("control", after, "_control"),
                    ("treated", after, "_treated"),
                    ("before", before, "_control"),
                )
            ]
        )
    )
    exposed = world.users.where("_is_exposed").select("user_id", "_is_treated")
    frame = exposed.join(totals, "user_id", "left").na.fill(0.0).toArrow().to_pandas()
    frame["experiment"] = frame["user_id"].str.rpartition("_")[2].astype(int) // USERS
    return frame


def estimates(units: pd.DataFrame, name: str) -> tuple[np.ndarray, Effect, Effect]:
    """True effects, and the plain and the adjusted estimate of every experiment."""
    truth, arms = [], []
    for _, one in units.groupby("experiment"):
        truth.append((one[f"{name}/treated"] - one[f"{name}/control"]).mean())
        treated = one["_is_treated"].to_numpy()
        realised = np.where(treated, one[f"{name}/treated"], one[f"{name}/control"])
        covariate = one[f"{name}/before"].to_numpy()
        arms.append(
            SufficientStatistics.stack(
                [SufficientStatistics.from_units(realised[k], x=covariate[k]) for k in (~treated, treated)]
            )
        )
    together = SufficientStatistics.stack(arms)
    by_arm = SufficientStatistics.stack([together[:, 0], together[:, 1]])
    return np.array(truth), mean_effect(by_arm), cuped_effect(by_arm)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("adjusted", [False, True], ids=["ab", "cuped"])
def test_the_truth_lies_in_the_interval_as_often_as_promised(units: pd.DataFrame, name: str, adjusted: bool) -> None:
    truth, plain, cuped = estimates(units, name)
    effect = cuped if adjusted else plain
    inside = (effect.effect_abs_ci_low[0] <= truth) & (truth <= effect.effect_abs_ci_high[0])
    assert inside.sum() >= stats.binom.ppf(0.001, EXPERIMENTS, 0.95)
    score = (effect.effect_abs[0] - truth) / effect.se_abs[0]
    assert abs(score.mean()) < 4 / EXPERIMENTS**0.5


def test_the_past_makes_the_intervals_narrower(units: pd.DataFrame) -> None:
    for name, least in (("sessions", 0.15), ("conversion", 0.02)):
        _, plain, cuped = estimates(units, name)
        assert 1 - (cuped.se_abs**2).mean() / (plain.se_abs**2).mean() > least
