"""`exp power` and the margins of `exp validate` on a small lake: what they say, and how wrong words end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from tests import hand_made as hm
from tests.conftest import make_project
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import Origin
from exp_platform.lake.publish import Publication, publish
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema

PRICING, CART, CHECKOUT = "exp_pricing_test_003", "exp_add_cart_002", "exp_checkout_button_001"
DT = date(2026, 1, 14)


def exp(project: Project, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--config", str(project.path)])
    return done.exit_code, done.output


def statistics_of(project: Project, experiment_id: str, drawn: dict[str, hm.Units]) -> pa.Table:
    """The statistics of an experiment's metrics."""
    table = hm.statistics([(project.metrics[metric], units) for metric, units in drawn.items()])
    where = table.schema.get_field_index("experiment_id")
    return table.set_column(where, table.schema.field(where), pa.array([experiment_id] * len(table)))


def publish_statistics(project: Project, experiment_id: str, dt: date, drawn: dict[str, hm.Units]) -> None:
    """Statistics as a run on `dt` leaves them."""
    origin = Origin("run", "aggregate_metrics", dt, "config", "code")
    handle = load_handle(project, hm.STATISTICS)
    publication = Publication(TABLES[hm.STATISTICS], Scope(experiment_id, dt), origin, handle)
    publish(publication, statistics_of(project, experiment_id, drawn))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Refunds in two experiments, of which the smaller ran later; a share in one of them."""
    project = make_project(tmp_path_factory.mktemp("lake"))
    share = hm.draw_units(2, 1_000, base=0.3, kind="binary")
    publish_statistics(project, PRICING, DT, {"refunds": hm.draw_units(1, 2_000), "conversion": share})
    publish_statistics(project, CART, DT.replace(day=20), {"refunds": hm.draw_units(1, 1_000)})
    return project


def test_the_plan_names_where_its_numbers_come_from_and_both_intervals(lake: Project) -> None:
    code, output = exp(lake, "power", "refunds", "--effect", "2%")
    assert code == 0
    assert f"from {CART} as of 2026-01-20: 2,000 users, 143 new ones a day" in output
    assert "alpha 0.05" in output
    assert [line.split()[0] for line in output.splitlines()[3:]] == ["fixed-horizon", "anytime-valid"]


def test_another_experiment_can_be_planned_from(lake: Project) -> None:
    code, output = exp(lake, "power", "refunds", "--effect", "0.2", "--like", PRICING, "--arms", "3", "--json")
    assert code == 0
    plan = json.loads(output)
    assert (plan["moments"]["experiment_id"], plan["moments"]["dt"]) == (PRICING, "2026-01-14")
    assert (plan["moments"]["users"], plan["scale"], plan["arms"]) == (4_000, "absolute", 3)
    assert plan["effect_rel"] == pytest.approx(0.02, rel=0.05)
    fixed, anytime = plan["horizons"]
    assert fixed["users"] == 3 * fixed["users_per_arm"] < anytime["users"]
    assert 0.15 < plan["moments"]["variance_reduction"] < 0.35


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["refund", "--effect", "2%"], 64, "metric 'refund' not found; did you mean 'refunds'?"),
        (["refunds", "--effect", "0%"], 64, "must not be 0"),
        (["refunds", "--effect", "2%", "--absolute"], 64, "'refunds' is no share"),
        (["refunds", "--effect", "2%", "--arms", "1"], 64, "--arms: found 1"),
        (["refunds", "--effect", "2%", "--like", "exp_pricing_test_03"], 64, f"did you mean '{PRICING}'?"),
        (["refunds", "--effect", "2%", "--like", CHECKOUT], 64, f"is none of {CHECKOUT}'s: conversion, revenue"),
        (["conversion", "--effect", "300%"], 64, "beyond reach: 'conversion' would go from 0."),
        (["revenue", "--effect", "2%"], 65, "has statistics of metric 'revenue' yet: `exp run EXPERIMENT`"),
        (["revenue", "--effect", "2%", "--like", CART], 65, f"{CART} has no statistics of metric 'revenue' yet"),
        (["revenue"], 65, "no experiment has results for metric 'revenue' yet: `exp run EXPERIMENT`"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(lake: Project, words: list[str], code: int, said: str) -> None:
    ended, output = exp(lake, "power", *words)
    assert (ended, output.count("\n")) == (code, 1)
    assert said in output


def test_statistics_whose_publication_has_expired_are_as_of_their_last_cohort_date(project: Project) -> None:
    rows = statistics_of(project, CART, {"refunds": hm.draw_units(1, 500)})
    load_handle(project, hm.STATISTICS).append(rows.cast(arrow_schema(TABLES[hm.STATISTICS])))
    code, output = exp(project, "power", "refunds", "--effect", "2%")
    assert code == 0
    assert f"from {CART} as of 2026-01-14" in output


def test_planning_and_checking_without_a_lake_make_none(project: Project) -> None:
    assert exp(project, "power", "refunds", "--effect", "2%")[0] == 65
    assert exp(project, "validate")[0] == 0
    assert not Path(project.resolve(project.profile.catalog.uri)).exists()


@contextmanager
def guarded(project: Project, margin: str) -> Iterator[None]:
    """The pricing experiment has another margin of its one guardrail."""
    file = project.root / "configs" / "experiments" / f"{PRICING}.yaml"
    text = file.read_text()
    assert "max_relative_harm: 0.10" in text
    file.write_text(text.replace("max_relative_harm: 0.10", margin))
    yield
    file.write_text(text)


def test_a_margin_that_the_planned_users_seldom_show_is_a_warning(lake: Project) -> None:
    with guarded(lake, "max_relative_harm: 0.003"):
        code, output = exp(lake, "validate")
    assert code == 0
    (line,) = [line for line in output.splitlines() if line.startswith("warning")]
    assert f"{PRICING}.yaml: guardrails: 'refunds' passes in " in line
    assert "15,000 planned users seldom show a margin of 0.003 of control" in line
    assert f"moments of {PRICING} as of 2026-01-14" in line


def test_a_margin_that_the_planned_users_show_is_none(lake: Project) -> None:
    with guarded(lake, "max_relative_harm: 0.02"):
        assert "warning" not in exp(lake, "validate")[1]


def test_a_margin_of_both_kinds_is_refused_in_one_sentence(project: Project) -> None:
    with guarded(project, "max_relative_harm: 0.1, max_absolute_harm: 0.1"):
        code, output = exp(project, "validate")
    assert code == 64
    assert "a margin of both kinds: give one of max_relative_harm and max_absolute_harm" in output
