"""The meaning of the configuration once it is read."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import yaml

from exp_platform.config.definition import definition_of
from exp_platform.config.load import Project, load_project
from exp_platform.config.models import Metric
from exp_platform.errors import ConfigError
from exp_platform.pipelines.dates import cutoff, latest_dt, parse_dt, past_dt


def metric(**values: object) -> Metric:
    base = {"name": "m", "version": 1, "description": "", "owner": "", "direction": "increase"}
    return Metric.model_validate(base | {"window": {"end_hours": 24}} | values)


@pytest.mark.parametrize(
    ("values", "aggregation", "maturity", "keys"),
    [
        ({"type": "binary"}, "any", "any", ("m",)),
        ({"type": "count"}, "count", "any", ("m",)),
        ({"type": "mean"}, "mean", "any", ("m",)),
        ({"type": "mean", "aggregation": "last"}, "last", "any", ("m",)),
        ({"type": "retention", "window": {"start_hours": 24, "end_hours": 48}}, "any", "complete", ("m",)),
        ({"type": "sum", "window": {"start_hours": 1, "end_hours": 48}}, "sum", "complete", ("m",)),
        ({"type": "sum", "maturity": "complete"}, "sum", "complete", ("m",)),
        ({"type": "ratio"}, None, "any", ("m.numerator", "m.denominator")),
        ({"type": "quantile", "quantile": 0.9, "level": "event"}, None, "any", ()),
        ({"type": "quantile", "quantile": 0.9, "aggregation": "max"}, "max", "any", ("m",)),
    ],
)
def test_defaults_follow_the_type(
    values: dict[str, object], aggregation: str | None, maturity: str, keys: tuple[str, ...]
) -> None:
    contract = metric(**values)
    assert (contract.aggregation_in_force, contract.maturity_in_force, contract.keys) == (aggregation, maturity, keys)


def test_three_experiments_and_at_least_eight_metrics_of_all_types_are_shipped(project: Project) -> None:
    assert {"exp_checkout_button_001", "exp_add_cart_002", "exp_pricing_test_003"} <= set(project.experiments)
    assert len(project.metrics) >= 8
    assert {m.type for m in project.metrics.values()} == {
        "binary", "count", "mean", "sum", "ratio", "quantile", "retention",
    }  # fmt: skip


def test_a_new_scenario_needs_one_block_and_no_code(project: Project) -> None:
    content = yaml.safe_load(project.path.read_text())
    content["experiments"]["exp_new_004"] = content["experiments"]["exp_add_cart_002"] | {"treatment_share": 0.25}
    project.path.write_text(yaml.safe_dump(content))
    experiment = load_project(project.path).experiment("exp_new_004")
    assert [(v.id, v.allocation) for v in experiment.variants] == [("control", 0.75), ("treatment", 0.25)]
    assert experiment.planned_users == 12000


def test_a_scenario_without_a_registry_file_needs_the_defaults(project: Project) -> None:
    content = yaml.safe_load(project.path.read_text())
    content["experiments"]["exp_new_004"] = content["experiments"]["exp_add_cart_002"]
    del content["experiment_defaults"]
    project.path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="experiment_defaults"):
        load_project(project.path).experiment("exp_new_004")


def test_the_config_hash_moves_with_what_can_change_a_number_and_not_with_the_status(project: Project) -> None:
    before = project.config_hash(project.experiment("exp_add_cart_002"))
    path = project.root / "configs/experiments/exp_add_cart_002.yaml"
    path.write_text(path.read_text().replace("status: running", "status: stopped"))
    assert load_project(project.path).config_hash(load_project(project.path).experiment("exp_add_cart_002")) == before
    metric_path = project.root / "configs/metrics/conversion.yaml"
    metric_path.write_text(metric_path.read_text().replace("end_hours: 168", "end_hours: 72"))
    assert load_project(project.path).config_hash(load_project(project.path).experiment("exp_add_cart_002")) != before


def test_a_title_a_unit_and_a_format_change_no_hash_and_no_definition(project: Project) -> None:
    path = project.root / "configs/metrics/revenue.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("title:", "unit:", "format:"))]
    found = []
    for words in ([], ["title: What people spend", "format: currency", "unit: EUR"]):
        path.write_text("\n".join([*lines, *words]) + "\n")
        now = load_project(project.path)
        revenue = now.metrics["revenue"]
        found.append((now.config_hash(now.experiment("exp_add_cart_002")), definition_of(revenue)))
    assert found[0] == found[1]
    assert (revenue.title_in_force, revenue.format_in_force, revenue.unit) == ("What people spend", "currency", "EUR")
    path.write_text("\n".join(lines) + "\n")
    assert load_project(project.path).metrics["revenue"].title_in_force == "Revenue"


def test_an_override_of_the_analysis_mode_is_another_configuration(project: Project) -> None:
    overridden = project.with_analysis_mode("exp_checkout_button_001", "itt")
    assert overridden.experiment("exp_checkout_button_001").analysis_mode == "itt"
    hashes = {p.config_hash(p.experiment("exp_checkout_button_001")) for p in (project, overridden)}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["2026-01-30", "2026-02-03"], "2026-02-03"),
        (["2026-01-30", "2026-12-24"], "2026-03-09"),
        ([], "2026-03-09"),
    ],
)
def test_dt_is_the_earlier_of_yesterday_and_the_last_raw_day(days: list[str], expected: str) -> None:
    now = datetime(2026, 3, 10, 6, tzinfo=UTC)
    assert latest_dt([date.fromisoformat(d) for d in days], now) == date.fromisoformat(expected)


def test_a_dt_that_has_not_begun_is_refused() -> None:
    now = datetime(2026, 3, 10, 6, tzinfo=UTC)
    assert past_dt(date(2026, 3, 10), now) == date(2026, 3, 10)
    with pytest.raises(ConfigError, match="has not begun"):
        past_dt(date(2026, 3, 11), now)


def test_a_run_sees_the_events_before_the_next_midnight() -> None:
    assert cutoff(parse_dt("2026-02-01")) == datetime(2026, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize("bad", ["2026-2-1", "yesterday", "2026-02-30", "20260201x"])
def test_a_dt_that_is_no_date_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="expected a date as YYYY-MM-DD"):
        parse_dt(bad)
