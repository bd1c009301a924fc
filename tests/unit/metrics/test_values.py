"""The values, windows and periods that follow from a metric contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from exp_platform.config.models import Metric
from exp_platform.metrics.families import families
from exp_platform.metrics.values import DAY_US, HOUR_US, did_period, micros, post_period, unit_values
from exp_platform.sums.panels import Panel, PanelSums, panel_rows, panels_of

END = datetime(2026, 2, 1, tzinfo=UTC)


def metric(kind: str, name: str = "m", **more: Any) -> Metric:
    given = {"window": {"end_hours": 24}, "pre_period_days": 2, "source": None if kind == "ratio" else "s"} | more
    return Metric(name=name, version=1, description="d", owner="o", type=kind, direction="increase", **given)


RATIO = {"numerator": {"source": "a", "aggregation": "sum"}, "denominator": {"source": "b", "aggregation": "count"}}


@pytest.mark.parametrize(
    ("contract", "keys"),
    [
        (metric("binary"), [("m", "s", "any")]),
        (metric("retention"), [("m", "s", "any")]),
        (metric("mean"), [("m", "s", "mean")]),
        (metric("mean", aggregation="last"), [("m", "s", "last")]),
        (metric("quantile", quantile=0.5), [("m", "s", "sum")]),
        (metric("quantile", quantile=0.5, level="event"), []),
        (metric("ratio", **RATIO), [("m.numerator", "a", "sum"), ("m.denominator", "b", "count")]),
    ],
)
def test_each_type_has_its_keys_and_aggregations(contract: Metric, keys: list[tuple[str, str, str]]) -> None:
    assert [(v.key, v.source, v.aggregation) for v in unit_values(contract)] == keys


def test_a_window_until_the_end_and_a_truncated_one_stop_at_end_ts() -> None:
    until_end = post_period(metric("sum", window={"start_hours": 1, "end_hours": "experiment"}), END)
    truncated = post_period(metric("sum", window={"end_hours": 1.5, "truncate_at_end": True}), END)
    assert (until_end.start_us, until_end.end_us, until_end.not_after_us) == (HOUR_US, None, micros(END))
    assert (truncated.end_us, truncated.not_after_us) == (round(1.5 * HOUR_US), micros(END))
    assert post_period(metric("sum"), END).not_after_us is None


def test_difference_in_differences_looks_back_as_far_as_the_window_is_long() -> None:
    period = did_period(metric("sum", window={"start_hours": 24, "end_hours": 72}), END)
    assert period.end_us is not None and period.end_us - period.start_us == 2 * DAY_US


def test_micros_are_exact_beyond_what_a_double_of_seconds_holds() -> None:
    assert micros(datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == 1_767_225_600_000_001


def test_metrics_over_the_same_days_share_a_panel_and_ratios_have_none() -> None:
    found = panels_of([metric("sum", "a"), metric("sum", "b"), metric("count", "c"), metric("ratio", "r", **RATIO)])
    assert set(found) == {"a", "b", "c"} and found["a"] == found["b"] == Panel("s", "sum", 2) != found["c"]
    assert panels_of([metric("sum", pre_period_days=0), metric("mean")]) == {}


def test_a_panel_row_counts_every_unit_and_has_zeros_where_nothing_happened() -> None:
    from exp_platform.lake.tables import TABLES
    from exp_platform.lake.types import arrow_schema

    schema = arrow_schema(TABLES["gold.fct_experiment_panel_statistics"])
    panel, day = Panel("s", "sum", 2), END.date()
    sums, products = {(0, "control", day, -1): 5.0}, {(0, "control", day, -1, -1): 13.0}
    found_sums = PanelSums(sums, products, {})
    rows = panel_rows("exp_a", {"m": panel}, [panel], {("control", day): 7}, {}, found_sums, schema).to_pylist()
    found = [(r["day_i"], r["day_j"], r["n"], r["sum_i"], r["sum_j"], r["sum_ij"]) for r in rows]
    assert found == [(-2, -2, 7, 0.0, 0.0, 0.0), (-2, -1, 7, 0.0, 5.0, 0.0), (-1, -1, 7, 5.0, 5.0, 13.0)]


def test_ratios_are_a_family_of_their_own_and_an_event_quantile_goes_with_the_plain_ones() -> None:
    found = families(
        [metric("sum", "a"), metric("ratio", "r", **RATIO), metric("quantile", "q", quantile=0.9, level="event")]
    )
    assert [(f.name, [m.name for _, m in f.members]) for f in found] == [("plain", ["a", "q"]), ("ratio", ["r"])]
