"""The second implementation's panels: daily values before the assignment, their products, and what is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests import hand_made as hm
from tests.unit.second_opinion.small_events import DAY1, assigned, attribute, database, outcome, put, users

from exp_platform.config.models import Metric
from exp_platform.second_opinion.cells import Cell
from exp_platform.second_opinion.checked_panels import Panel, compare_panel, has_panel, make_panel

ARM = ("control", DAY1)


def spend(kind: str = "sum", **more: Any) -> Metric:
    return hm.metric("spend", kind, source="spend", window={"end_hours": 24}, **{"pre_period_days": 3} | more)


def made(metric: Metric, cluster: str | None = None) -> Panel:
    """u1 spends 2 and 3 in its last day before and 4 in the third; u2 one in the second; u3 too early and too late."""
    with database() as db:
        put(db, "assignments", *(assigned(user, "control", 2) for user in ("u1", "u2", "u3")))
        put(db, "outcomes", outcome("u1", 2.0, 1), outcome("u1", 3.0, 0), outcome("u1", 4.0, -70))
        put(db, "outcomes", outcome("u2", 1.0, -22.001), outcome("u3", 9.0, -71), outcome("u3", 9.0, 2))
        put(db, "attributes", attribute("u1", "x"), attribute("u2", "y"))
        return make_panel(users(db, [metric]), metric, cluster)


def totals(found: dict[Any, tuple[float, float]]) -> dict[tuple[int, ...], float]:
    return {key[2:]: total for key, (total, _) in found.items()}


def test_daily_values_are_those_of_the_24_hours_before_the_assignment_and_their_products() -> None:
    found = made(spend())
    assert found.units == {ARM: 3}
    assert totals(found.sums) == {(-1,): 5.0, (-2,): 1.0, (-3,): 4.0}
    assert totals(found.products) == {(-1, -1): 25.0, (-2, -2): 1.0, (-3, -3): 16.0, (-3, -1): 20.0}
    assert totals(made(spend("count")).sums) == {(-1,): 2.0, (-2,): 1.0, (-3,): 1.0}
    assert totals(made(spend("binary")).products)[-3, -1] == 1.0


def test_clusters_are_the_values_of_an_attribute_and_users_without_one_are_in_none() -> None:
    found = made(spend(), "os")
    assert found.cluster_units == {ARM: {"x": 1, "y": 1}}
    assert found.cluster_sums == {(*ARM, -1): {"x": 5.0}, (*ARM, -2): {"y": 1.0}, (*ARM, -3): {"x": 4.0}}


def test_metrics_of_several_numbers_of_no_day_before_or_whose_days_do_not_add_up_have_no_panel() -> None:
    with database() as db:
        oracle = users(db, [spend()])
    metrics = {
        "sum": spend(), "ratio": hm.metric("r", "ratio"), "mean": spend("mean"), "no days": spend(pre_period_days=0),
        "events": spend("quantile", level="event"), "users": spend("quantile"),
    }  # fmt: skip
    assert [name for name, metric in metrics.items() if has_panel(oracle, metric)] == ["sum", "users"]


def rows(panel: Panel) -> list[dict[str, Any]]:
    """A panel as it is published: every pair of days, 0 where nothing happened."""
    none: tuple[float, float] = (0.0, 0.0)
    found = []
    for arm, date, i, j in sorted(panel.pairs()):
        key = (arm, date)
        units = panel.cluster_units.get(key, {}) if i == j else {}
        sums = panel.cluster_sums.get((*key, i), {})
        found.append(
            {"variant_id": arm, "cohort_date": date, "day_i": i, "day_j": j, "n": panel.units[key],
             "sum_i": panel.sums.get((*key, i), none)[0], "sum_j": panel.sums.get((*key, j), none)[0],
             "sum_ij": panel.products.get((*key, i, j), none)[0], "cluster_units": units or None,
             "cluster_sums": {name: sums.get(name, 0.0) for name in units} or None}
        )  # fmt: skip
    return found


def differences(panel: Panel, published: list[dict[str, Any]]) -> list[str]:
    cell = Cell("spend", "control")
    compare_panel({"control": cell}, published, panel)
    assert cell.differ >= len(cell.examples)
    return [example.partition(":")[0] for example in cell.examples]


PLACE = 2  # of the row of the days -3 and -1


@pytest.mark.parametrize("changed", [{"n": 4}, {"sum_i": 4 + 1e-11}, {"sum_j": 5 + 1e-11}, {"sum_ij": 20 + 1e-10}])
def test_a_number_of_a_panel_that_differs_is_found(changed: dict[str, Any]) -> None:
    panel = made(spend())
    published = rows(panel)
    assert differences(panel, published) == []
    published[PLACE] |= changed
    assert differences(panel, published) == [f"{next(iter(changed))} of days -3 and -1, 2026-01-05"]


def test_a_row_of_a_panel_too_many_or_too_few_is_found() -> None:
    panel = made(spend())
    published = rows(panel)
    assert differences(panel, published[:PLACE] + published[PLACE + 1 :]) == ["n of days -3 and -1, 2026-01-05"]
    other_day = published[PLACE] | {"cohort_date": DAY1.replace(day=6)}
    assert differences(panel, [*published, other_day])[0] == "n of days -3 and -1, 2026-01-06"


@pytest.mark.parametrize(
    ("changed", "found"),
    [({"cluster_units": {"x": 1, "y": 2}}, "users of cluster y"),
     ({"cluster_sums": {"x": 4.1, "y": 0.0}}, "sum of cluster x"),
     ({"cluster_sums": {"x": 4.0}}, "sum of cluster y")],
)  # fmt: skip
def test_a_cluster_that_differs_is_found(changed: dict[str, Any], found: str) -> None:
    panel = made(spend(), "os")
    published = rows(panel)
    assert differences(panel, published) == []
    published[0] |= changed
    assert differences(panel, published) == [f"{found} of days -3 and -3, 2026-01-05"]


def test_bits_beyond_the_reach_of_the_pipelines_sums_are_no_difference_in_a_panel() -> None:
    panel = replace(made(spend()), largest=1e12)
    published = rows(panel)
    published[PLACE] |= {"sum_i": 4 + 2e-6}
    assert differences(panel, published) == []
