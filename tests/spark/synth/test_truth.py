"""The true effects are the differences of the potential outcomes, worked out again with pandas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exp_platform.config.models import Cap, Metric, RatioPart, Window
from exp_platform.synth.frames import DrawnWorld, draw
from exp_platform.synth.generation import HOUR, SynthPlan
from exp_platform.synth.truth import true_effects

pytestmark = pytest.mark.spark
Rows = Callable[[str], pd.DataFrame]


def metric(name: str, kind: str, **more: Any) -> Metric:
    """A contract with a one-week window, unless said otherwise."""
    window = more.pop("window", Window(end_hours=168))
    return Metric(
        name=name,
        version=1,
        description="",
        owner="",
        direction="increase",
        window=window,
        type=kind,
        **more,
    )


METRICS = (
    metric("conversion", "binary", source="conversion"),
    metric("revenue", "sum", source="revenue", cap=Cap(quantile=0.99)),
    metric("refunds", "sum", source="refunds", cap=Cap(value=30.0)),
    metric("orders_until_end", "count", source="conversion", window=Window(end_hours="experiment")),
    metric("cut_at_end", "count", source="sessions", window=Window(end_hours=336, truncate_at_end=True)),
    metric("latency", "mean", source="latency", cap=Cap(value=400.0)),
    metric("largest_order", "mean", source="revenue", aggregation="max"),
    metric("latest_order", "mean", source="revenue", aggregation="last"),
    metric("week_2", "retention", source="sessions", window=Window(start_hours=168, end_hours=336)),
    metric("p90_revenue", "quantile", source="revenue", aggregation="sum", quantile=0.9),
    metric("p90_latency", "quantile", source="latency", level="event", quantile=0.9),
    metric(
        "per_session",
        "ratio",
        numerator=RatioPart(source="revenue", aggregation="sum"),
        denominator=RatioPart(source="sessions", aggregation="count"),
    ),
)
BY_NAME = {m.name: m for m in METRICS}


@pytest.fixture(scope="module")
def effects(world: DrawnWorld, plan: SynthPlan) -> dict[tuple[str, str, bool], dict[str, Any]]:
    """(metric, mode, capped) -> record."""
    records = true_effects(world.users, world.candidates, replace(plan, metrics=METRICS))
    return {(r["metric"], r["mode"], r["cap"] is not None): r for r in records}


def unit_values(rows: Rows, plan: SynthPlan, mode: str, source: str, aggregation: str, window: Window) -> pd.DataFrame:
    """One row per included unit, one column per world; event by event for `event`."""
    anchor_column = "_assign_us" if mode == "itt" else "_first_exposure_us"
    units = rows("users").set_index("_key")
    units = units[units[anchor_column].notna()]
    events = rows("candidates").query("metric_name == @source").join(units[anchor_column].rename("anchor"), on="_key")
    until_end = window.end_hours == "experiment"
    high = plan.end_us if until_end else events["anchor"] + window.end_hours * HOUR
    if window.truncate_at_end:
        high = np.minimum(high, plan.end_us)
    events = events[(events["_at"] >= events["anchor"] + window.start_hours * HOUR) & (events["_at"] < high)]
    found = {}
    for world in ("_control", "_treated"):
        there = events[events[world].notna()].sort_values(["_at", world])
        if aggregation == "event":
            found[world] = there[world].reset_index(drop=True)
            continue
        grouped = there.groupby("_key")[world]
        empty = aggregation in ("sum", "count", "any")
        value = grouped.agg({"any": "max"}.get(aggregation, aggregation)).reindex(units.index)
        value = (value > 0).astype(float) if aggregation == "any" else value
        found[world] = value.fillna(0) if empty else value
    table = pd.DataFrame(found)
    if aggregation != "event":
        table["realised"] = np.where(units["_is_treated"], table["_treated"], table["_control"])
    return table


@pytest.mark.parametrize("mode", ["itt", "exposed"])
@pytest.mark.parametrize("name", [m.name for m in METRICS if m.type not in ("ratio", "quantile")])
def test_the_truth_is_the_difference_of_both_worlds(
    effects: Any, rows: Rows, plan: SynthPlan, name: str, mode: str
) -> None:
    contract = BY_NAME[name]
    values = unit_values(rows, plan, mode, contract.source, contract.aggregation_in_force, contract.window)
    caps = {False: np.inf}
    if contract.cap:
        realised = values["realised"].dropna()
        caps[True] = contract.cap.value or np.percentile(realised, contract.cap.quantile * 100)
    for capped, limit in caps.items():
        record = effects[name, mode, capped]
        expected = values.clip(upper=limit).mean()
        assert record["control_mean"] == pytest.approx(expected["_control"], rel=1e-9)
        assert record["treatment_mean"] == pytest.approx(expected["_treated"], rel=1e-9)
        assert record["effect_abs"] == pytest.approx(expected["_treated"] - expected["_control"], rel=1e-6, abs=1e-12)
        assert (record["n_units"], record["cap"] or np.inf) == (len(values), pytest.approx(limit))


@pytest.mark.parametrize("mode", ["itt", "exposed"])
def test_a_ratios_truth_is_a_ratio_of_means(effects: Any, rows: Rows, plan: SynthPlan, mode: str) -> None:
    window = Window(end_hours=168)
    money = unit_values(rows, plan, mode, "revenue", "sum", window).mean()
    visits = unit_values(rows, plan, mode, "sessions", "count", window).mean()
    record = effects["per_session", mode, False]
    assert record["control_mean"] == pytest.approx(money["_control"] / visits["_control"], rel=1e-9)
    assert record["treatment_mean"] == pytest.approx(money["_treated"] / visits["_treated"], rel=1e-9)


@pytest.mark.parametrize(("name", "aggregation"), [("p90_revenue", "sum"), ("p90_latency", "event")])
def test_a_quantiles_truth_is_over_units_or_over_events(
    effects: Any, rows: Rows, plan: SynthPlan, name: str, aggregation: str
) -> None:
    values = unit_values(rows, plan, "exposed", BY_NAME[name].source, aggregation, Window(end_hours=168))
    record = effects[name, "exposed", False]
    assert record["control_mean"] == pytest.approx(np.percentile(values["_control"].dropna(), 90), rel=1e-9)
    assert record["treatment_mean"] == pytest.approx(np.percentile(values["_treated"].dropna(), 90), rel=1e-9)


def test_the_scenarios_lift_is_absolute_among_the_exposed_and_diluted_among_all(effects: Any) -> None:
    exposed, everybody = effects["conversion", "exposed", False], effects["conversion", "itt", False]
    assert exposed["effect_abs"] == pytest.approx(0.10, abs=0.02)
    diluted = exposed["effect_abs"] * exposed["n_units"] / everybody["n_units"]
    assert everybody["effect_abs"] == pytest.approx(diluted, rel=1e-9)


def test_what_the_scenario_leaves_alone_has_no_effect_at_all(effects: Any) -> None:
    assert [effects[name, "itt", False]["effect_abs"] for name in ("cut_at_end", "week_2")] == [0, 0]


def test_the_arms_differ_by_the_truth_within_chance(effects: Any, rows: Rows, plan: SynthPlan) -> None:
    values = unit_values(rows, plan, "exposed", "conversion", "any", Window(end_hours=168))
    treated = rows("users").set_index("_key").loc[values.index, "_is_treated"]
    arms = values["realised"].groupby(treated).agg(["mean", "var", "size"])
    error = (arms["var"] / arms["size"]).sum() ** 0.5
    difference = arms["mean"][True] - arms["mean"][False]
    assert difference == pytest.approx(effects["conversion", "exposed", False]["effect_abs"], abs=4 * error)


def test_a_rollouts_truth_is_over_the_treated(spark: Any, plan: SynthPlan) -> None:
    experiment = plan.experiment.model_copy(update={"design": "rollout"})
    rollout = replace(plan, experiment=experiment, metrics=METRICS[:1])
    world = draw(spark, rollout)
    (record,) = [r for r in true_effects(world.users, world.candidates, rollout) if r["mode"] == "itt"]
    assert record["estimand"] == "att"
    assert record["n_units"] == world.users.where("_is_treated").count()


def test_without_an_assignment_log_everybody_counted_is_exposed(spark: Any, plan: SynthPlan) -> None:
    experiment = plan.experiment.model_copy(update={"assignment_source": "exposures"})
    derived = replace(plan, experiment=experiment, metrics=METRICS[:1])
    world = draw(spark, derived)
    itt, exposed = true_effects(world.users, world.candidates, derived)
    assert {k: v for k, v in itt.items() if k != "mode"} == {k: v for k, v in exposed.items() if k != "mode"}
