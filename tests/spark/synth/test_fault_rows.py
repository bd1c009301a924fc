"""Each fault does what its sentence says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import functions as F

from exp_platform.config.models import Fault
from exp_platform.schemas import contract_columns
from exp_platform.synth import fault_rows
from exp_platform.synth.fault_rows import Days, RowFault
from exp_platform.synth.frames import DrawnWorld
from exp_platform.synth.generation import DAY, SynthPlan
from exp_platform.synth.planted_faults import apply_to_rows

pytestmark = pytest.mark.spark
Rows = Callable[[str], pd.DataFrame]


@pytest.fixture(scope="module")
def broken(world: DrawnWorld, plan: SynthPlan) -> Callable[..., pd.DataFrame]:
    """A dataset after a fault, as pandas."""

    def collect(dataset: str, fault: RowFault, size: float, days: Days = ()) -> pd.DataFrame:
        frame = fault(world.frames, size, days, plan).present()[dataset]
        return frame.toArrow().to_pandas()

    return collect


def share(part: Any, whole: Any) -> float:
    return len(part) / len(whole)


def test_broken_logging_loses_a_share_of_one_days_users_and_no_others(broken: Any, rows: Rows) -> None:
    left = broken("exposures", fault_rows.broken_exposure_logging, 0.5, (3,))
    lost = rows("exposures")[lambda d: ~d["user_id"].isin(left["user_id"])]
    that_day = rows("exposures").query("_day == 3")
    assert set(lost["_day"]) == {3}
    assert share(set(lost["user_id"]), set(that_day["user_id"])) == pytest.approx(0.5, abs=0.12)


def test_pre_assignment_exposures_are_added_to_what_is_there(broken: Any, rows: Rows) -> None:
    found = broken("exposures", fault_rows.pre_assignment_exposure, 0.2)
    early = found[found["exposure_ts"] < pd.to_datetime(found["_assign_us"], unit="us", utc=True)]
    assert share(early, set(rows("exposures")["user_id"])) == pytest.approx(0.2, abs=0.03)
    assert len(found) == len(rows("exposures")) + len(early)
    assert (early["dt"] == early["exposure_ts"].dt.date).all()


def test_a_mismatched_user_sees_the_other_arm_only(broken: Any, rows: Rows) -> None:
    found = broken("exposures", fault_rows.variant_mismatch, 0.2)
    own = rows("users").set_index("user_id")["variant"].reindex(found["user_id"]).to_numpy()
    wrong = found[found["variant"] != own]
    assert (found.groupby("user_id")["variant"].nunique() == 1).all()
    assert share(set(wrong["user_id"]), set(found["user_id"])) == pytest.approx(0.2, abs=0.03)


def test_a_user_exposed_to_several_arms_sees_both(broken: Any) -> None:
    found = broken("exposures", fault_rows.multi_variation_exposure, 0.2)
    assert (found.groupby("user_id")["variant"].nunique() == 2).mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("hours", [None, 24])
def test_late_exposures_leave_a_user_without_a_valid_one(world: DrawnWorld, plan: SynthPlan, hours: int | None) -> None:
    windowed = replace(plan, experiment=plan.experiment.model_copy(update={"exposure_window_hours": hours}))
    late = fault_rows.late_exposure(world.frames, 0.2, (), windowed).exposures.toArrow().to_pandas()
    at = late["exposure_ts"].astype("int64") // (1000 if late["exposure_ts"].dt.unit == "ns" else 1)
    limit = plan.end_us if hours is None else late["_assign_us"] + DAY
    outside = (at >= limit).groupby(late["user_id"]).all()
    assert outside.mean() == pytest.approx(0.2, abs=0.03)


def test_sample_ratio_mismatch_erases_treated_users_everywhere(broken: Any, rows: Rows) -> None:
    gone = {}
    for name in ("assignments", "exposures", "outcomes", "attributes"):
        left = set(broken(name, fault_rows.srm, 0.3)["user_id"])
        gone[name] = set(rows(name)["user_id"]) - left
    arms = rows("users").set_index("user_id")["variant"]
    assert gone["exposures"] | gone["outcomes"] | gone["attributes"] <= gone["assignments"]
    assert set(arms[list(gone["assignments"])]) == {"treatment"}
    assert share(gone["assignments"], arms[arms == "treatment"]) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("dataset", ["assignments", "exposures", "outcomes", "attributes"])
def test_duplicates_are_exact(broken: Any, rows: Rows, dataset: str) -> None:
    columns = list(contract_columns(dataset))
    found = broken(dataset, fault_rows.duplicate_events, 0.2)[columns]
    assert len(found) / len(rows(dataset)) == pytest.approx(1.2, abs=0.03)
    assert len(found.drop_duplicates()) == len(rows(dataset).drop_duplicates(columns))


def test_a_missing_day_is_missing_from_the_outcomes_alone(broken: Any, rows: Rows) -> None:
    left = broken("outcomes", fault_rows.missing_day, 1.0, (5,))
    days = rows("outcomes").groupby("dt").size() - left.groupby("dt").size().reindex(
        rows("outcomes")["dt"].unique(), fill_value=0
    )
    assert [str(day) for day in days[days > 0].index] == ["2026-01-10"]
    assert len(broken("exposures", fault_rows.missing_day, 1.0, (5,))) == len(rows("exposures"))


def test_bots_are_few_and_extreme(broken: Any, rows: Rows) -> None:
    found = broken("outcomes", fault_rows.bots, 0.003)
    added = found.groupby("user_id").size().sub(rows("outcomes").groupby("user_id").size(), fill_value=0)
    bots = added[added > 0]
    assert share(bots, rows("users")) == pytest.approx(0.003, abs=0.003)
    assert (bots >= 100).all() and bots.max() > 300
    assert 840 <= found["value"].max() <= 4200
    assert (added >= 0).all()


def test_rows_lose_their_user(broken: Any, rows: Rows) -> None:
    for dataset in ("assignments", "exposures", "outcomes"):
        found = broken(dataset, fault_rows.null_user_ids, 0.05)
        assert found["user_id"].isna().mean() == pytest.approx(0.05, abs=0.02)
        assert len(found) == len(rows(dataset))


def test_rows_name_an_arm_that_nobody_knows(broken: Any) -> None:
    for dataset in ("assignments", "exposures"):
        found = broken(dataset, fault_rows.unknown_variant, 0.05)
        assert (found["variant"] == "ghost").mean() == pytest.approx(0.05, abs=0.02)


def test_rows_land_in_later_folders_and_keep_their_time(broken: Any, rows: Rows) -> None:
    columns = list(contract_columns("outcomes"))
    found = broken("outcomes", fault_rows.out_of_order_timestamps, 0.2)
    later = (pd.to_datetime(found["dt"]) - pd.to_datetime(found["outcome_ts"].dt.date)).dt.days
    assert set(later) == {0, 1, 2, 3}
    assert (later > 0).mean() == pytest.approx(0.2, abs=0.02)
    pd.testing.assert_frame_equal(
        found[columns].sort_values(columns, ignore_index=True),
        rows("outcomes")[columns].sort_values(columns, ignore_index=True),
    )


@pytest.mark.parametrize(
    ("fault", "size", "longest_hours"), [(fault_rows.timezone_shift, 0.2, 5), (fault_rows.clock_skew, 0.5, 2)]
)
def test_a_wrong_clock_moves_exposures_back(
    broken: Any, rows: Rows, fault: RowFault, size: float, longest_hours: float
) -> None:
    key = ["user_id", "unit", "_row"]
    tables = []
    for frame in (broken("exposures", fault, size), rows("exposures")):
        frame = frame.sort_values(["user_id", "exposure_ts"])
        frame["_row"] = frame.groupby("user_id").cumcount()
        tables.append(frame.set_index(key)["exposure_ts"])
    moved = (tables[1] - tables[0]).dt.total_seconds() / 3600
    assert moved.between(0, longest_hours).all()
    assert (moved.groupby("user_id").max() > 0).mean() == pytest.approx(size, abs=0.04)


def test_the_treated_were_on_the_rise_before_the_assignment(broken: Any, rows: Rows) -> None:
    def weekly(frame: pd.DataFrame) -> pd.Series:
        age = (
            pd.to_datetime(frame["_assign_us"], unit="us", utc=True) - frame["outcome_ts"]
        ).dt.total_seconds() / 86400
        week = pd.cut(age, [-99, 0, 7, 14], right=True, labels=["after", "1", "2"])
        return frame.groupby([frame["_is_treated"], week], observed=True).size()

    left = weekly(broken("outcomes", fault_rows.non_parallel_pre_period, 0.5)) / weekly(rows("outcomes"))
    assert (left[False] == 1).all() and left[True]["after"] == 1
    assert left[True]["1"] == pytest.approx(1 - 0.125, abs=0.03)
    assert left[True]["2"] == pytest.approx(1 - 0.375, abs=0.04)


def test_shared_users_have_ids_of_no_experiment_in_every_dataset(world: DrawnWorld, plan: SynthPlan) -> None:
    frames = fault_rows.reused_user_ids_across_experiments(world.frames, 0.5, (), plan).present()
    shared = {}
    for name, frame in frames.items():
        users = frame.select("user_id", "_key").distinct().toArrow().to_pandas()
        assert users["user_id"].is_unique and users["_key"].is_unique
        shared[name] = set(users.loc[users["user_id"].str.startswith("shared_"), "user_id"])
    assert len(shared["assignments"]) / plan.scenario.n_users == pytest.approx(0.5, abs=0.04)
    assert shared["exposures"] | shared["outcomes"] <= shared["assignments"]


def test_faults_add_up(world: DrawnWorld, plan: SynthPlan) -> None:
    both = replace(plan, faults=(Fault(name="srm", size=0.5), Fault(name="null_user_ids", size=0.1)))
    found = apply_to_rows(world.frames, both).assignments
    treated, nulls = found.select(
        F.avg((F.col("variant") == "treatment").cast("double")), F.avg(F.col("user_id").isNull().cast("double"))
    ).first()
    assert treated == pytest.approx(1 / 3, abs=0.04)
    assert nulls == pytest.approx(0.1, abs=0.03)
