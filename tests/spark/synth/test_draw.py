"""The healthy data: the scenario's rates come back, and nothing depends on partitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exp_platform.config.models import Variant
from exp_platform.schemas import contract_columns
from exp_platform.synth.frames import DrawnWorld, draw
from exp_platform.synth.generation import DAY, HOUR, SynthPlan

pytestmark = pytest.mark.spark
Rows = Callable[[str], pd.DataFrame]


def near(share: float, n: int) -> Any:
    """Within four standard errors of a share of n."""
    return pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)


@pytest.mark.parametrize("partitions", [1, 7])
def test_the_same_rows_come_out_of_any_number_of_partitions(
    spark: Any, plan: SynthPlan, rows: Rows, partitions: int
) -> None:
    again = draw(spark, replace(plan, partitions=partitions)).frames
    for name, frame in again.present().items():
        columns = list(contract_columns(name))
        found = frame.select(*columns).toArrow().to_pandas().sort_values(columns, ignore_index=True)
        expected = rows(name)[columns].sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_another_seed_and_another_experiment_give_other_people(spark: Any, plan: SynthPlan, rows: Rows) -> None:
    other_id = plan.experiment.model_copy(update={"experiment_id": "exp_other"})
    variants = rows("assignments").sort_values("user_id")["variant"].to_numpy()
    for other in (replace(plan, seed=8), replace(plan, experiment=other_id)):
        frame = draw(spark, other).frames.assignments.toArrow().to_pandas().sort_values("user_id")
        assert 0.4 < (frame["variant"].to_numpy() == variants).mean() < 0.6


def test_the_rates_of_the_scenario_come_back(plan: SynthPlan, rows: Rows) -> None:
    users = rows("users")
    assert (users["variant"] == "treatment").mean() == near(0.5, len(users))
    assert users["_is_exposed"].mean() == near(0.8, len(users))
    bought = rows("candidates").query("metric_name == 'conversion' and _at >= _assign_us")
    first_week = bought[bought["_at"] < bought["_assign_us"] + 7 * DAY]
    exposed = set(users.loc[users["_is_exposed"], "_key"])
    for world, share in (("_control", 0.10), ("_treated", 0.20)):
        buyers = set(first_week.loc[first_week[world].notna(), "_key"])
        assert len(buyers & exposed) / len(exposed) == near(share, len(exposed))
        assert len(buyers - exposed) / (len(users) - len(exposed)) == near(0.10, len(users) - len(exposed))
    assert set(bought.loc[bought["_control"].notna(), "_key"]) <= set(bought.loc[bought["_treated"].notna(), "_key"])


def test_order_values_are_skewed_with_the_mean_of_the_scenario_and_two_decimals(rows: Rows) -> None:
    revenue = rows("candidates").query("metric_name == 'revenue'")["_control"].dropna()
    assert revenue.mean() == pytest.approx(42, abs=5 * 38 / len(revenue) ** 0.5)
    assert revenue.skew() > 1.5
    assert (revenue == revenue.round(2)).all()


def test_exposures_come_after_the_assignment_and_before_the_end(plan: SynthPlan, rows: Rows) -> None:
    seen = rows("exposures")
    at = seen["exposure_ts"].astype("int64") // (1000 if seen["exposure_ts"].dt.unit == "ns" else 1)
    assert (at > seen["_assign_us"]).all() and (at < plan.end_us).all()
    first = at.groupby(seen["user_id"]).min() - seen.groupby("user_id")["_assign_us"].first()
    assert len(first) == rows("users")["_is_exposed"].sum()
    assert first.max() <= 20 * HOUR and 1 * HOUR < first.median() < 4 * HOUR
    assert 1.5 < len(seen) / seen["user_id"].nunique() < 2.5


def test_an_exposure_window_is_kept(spark: Any, plan: SynthPlan) -> None:
    narrow = replace(plan, experiment=plan.experiment.model_copy(update={"exposure_window_hours": 2}))
    seen = draw(spark, narrow).frames.exposures.selectExpr(
        "max(unix_micros(exposure_ts) - _assign_us) as longest", "count(distinct user_id) as users"
    )
    longest, users = seen.first()
    assert longest < 2 * HOUR and users / plan.scenario.n_users == near(0.8, plan.scenario.n_users)


def test_assignments_follow_the_week(rows: Rows) -> None:
    weekday = rows("assignments")["assignment_ts"].dt.dayofweek
    share = weekday.value_counts(normalize=True)
    assert share[[5, 6]].mean() < 0.85 * share[[0, 1, 2, 3]].mean()


def test_new_users_have_no_past_and_veterans_a_long_one(plan: SynthPlan, rows: Rows) -> None:
    users = rows("users").set_index("_key")
    events = rows("candidates")
    age = ((events["_assign_us"] - events["_at"]) / DAY).groupby(events["_key"]).max()
    oldest = age.reindex(users.index).fillna(-99)
    assert (oldest[users["_is_new"]] <= 0).all()
    assert oldest[users["_history_us"] == 14 * DAY].between(-99, 14).all()
    assert (oldest[users["_history_us"] == 28 * DAY] > 14).mean() > 0.5
    assert users["_is_new"].mean() == near(0.3, len(users))


def test_the_past_tells_something_of_the_outcome(rows: Rows) -> None:
    events = rows("candidates").query("metric_name == 'sessions'")
    users = rows("users").set_index("_key")
    before = events[events["_at"] < events["_assign_us"]].groupby("_key").size().reindex(users.index).fillna(0)
    after = events[events["_at"] >= events["_assign_us"]].groupby("_key").size().reindex(users.index).fillna(0)
    returning = ~users["_is_new"]
    assert np.corrcoef(before[returning], after[returning])[0, 1] > 0.4


def test_attributes_are_known_before_the_assignment_and_some_change_afterwards(rows: Rows) -> None:
    known = rows("attributes")
    late = known["attribute_ts"] > pd.to_datetime(known["_assign_us"], unit="us", utc=True)
    assert set(known["dimension"]) == {"country", "platform", "user_type"}
    assert (known[~late].groupby(["user_id", "dimension"]).size() == 1).all()
    assert set(known.loc[late, "dimension"]) == {"platform"}


def test_more_than_one_treatment_arm_splits_the_share(spark: Any, plan: SynthPlan) -> None:
    arms = (("control", 0.4), ("green", 0.4), ("blue", 0.2))
    variants = tuple(Variant(id=name, allocation=share, is_control=name == "control") for name, share in arms)
    three = replace(
        plan,
        experiment=plan.experiment.model_copy(update={"variants": variants}),
        scenario=plan.scenario.model_copy(update={"treatment_share": 0.6}),
    )
    counts = {row["variant"]: row["count"] for row in draw(spark, three).users.groupBy("variant").count().collect()}
    assert {name: counts[name] / 3000 for name in counts} == {name: near(share, 3000) for name, share in arms}


@pytest.mark.parametrize("cluster", [None, "city"])
def test_a_rollout_takes_the_more_active_users_and_stays_parallel(
    spark: Any, plan: SynthPlan, cluster: str | None
) -> None:
    experiment = plan.experiment.model_copy(update={"design": "rollout", "cluster": cluster})
    scenario = plan.scenario.model_copy(update={"n_users": 12_000, "effect_lift_conversion": 0.0})
    world: DrawnWorld = draw(spark, replace(plan, experiment=experiment, scenario=scenario))
    users = world.users.toArrow().to_pandas().set_index("_key")
    level = users.groupby("_is_treated")["_propensity"].mean()
    assert level[True] - level[False] > 0.1
    events = world.candidates.where("metric_name = 'conversion'").toArrow().to_pandas()
    offset = (events["_at"] - events["_assign_us"]) // (7 * DAY)
    weeks = {w: events[(offset == w) & events["_control"].notna()].groupby("_key").size() for w in (-1, 0)}
    change = weeks[0].reindex(users.index).fillna(0) - weeks[-1].reindex(users.index).fillna(0)
    arms = change.groupby(users["_is_treated"]).agg(["mean", "var", "size"])
    difference = arms["mean"][True] - arms["mean"][False]
    assert abs(difference) < 4 * (arms["var"] / arms["size"]).sum() ** 0.5


def test_without_an_assignment_log_there_is_no_such_dataset(spark: Any, plan: SynthPlan) -> None:
    derived = plan.experiment.model_copy(update={"assignment_source": "exposures"})
    assert set(draw(spark, replace(plan, experiment=derived)).frames.present()) == {
        "exposures",
        "outcomes",
        "attributes",
    }
