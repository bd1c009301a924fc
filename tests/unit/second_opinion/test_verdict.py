"""Where a verdict of the second implementation shows: trust, decision, memo, index, alert; no Spark."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.published_lake import published_lake
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.decision.trust import trust_of
from exp_platform.lake.catalog import load_handle
from exp_platform.ledger.second_opinions import NOTHING, last_opinion
from exp_platform.memo.index.entry import entry_of
from exp_platform.second_opinion import check
from exp_platform.second_opinion.compare import Cell
from exp_platform.status import Trust

NIGHT = datetime(2026, 1, 20, 4, tzinfo=UTC)


def row(run_id: str, dt: date, differ: int, at: datetime = NIGHT, metric: str = "checkout") -> dict[str, Any]:
    return {
        "run_id": run_id, "dt": dt, "metric_name": metric, "variant_id": "control", "compared": 10, "differ": differ,
        "not_checked": 1, "detail": "y: 1 against 2" if differ else "", "checked_at": at,
    }  # fmt: skip


def test_a_difference_holds_for_later_runs_until_one_of_them_was_checked_and_agreed() -> None:
    first, second = date(2026, 1, 18), date(2026, 1, 19)
    broken = row("run_1", first, 3)
    later = last_opinion([broken], "run_2", second)
    assert later is not None
    assert (later.run_id, later.metrics) == ("run_1", ("checkout",))
    agreed = last_opinion([broken, row("run_2", second, 0, NIGHT.replace(day=21))], "run_2", second)
    assert agreed is not None
    assert agreed.metrics == ()
    third = last_opinion([broken, row("run_2", second, 0, NIGHT.replace(day=21))], "run_3", second)
    assert third is not None
    assert third.metrics == ()


def test_a_verdict_on_a_later_day_says_nothing_about_a_backfill() -> None:
    assert last_opinion([row("run_9", date(2026, 1, 19), 3)], "run_1", date(2026, 1, 10)) is None


def test_what_could_not_be_checked_is_never_called_checked() -> None:
    nothing = row("run_1", date(2026, 1, 18), 0, metric=NOTHING) | {"compared": 0, "detail": "it reads streams"}
    opinion = last_opinion([nothing], "run_1", date(2026, 1, 18))
    assert opinion is not None
    assert opinion.sentence == "not checked by a second implementation: it reads streams"


def test_a_difference_costs_the_trust_whatever_was_acknowledged() -> None:
    assert trust_of([], [], "itt", []).trust is Trust.TRUSTED
    verdict = trust_of([], [], "itt", [], differing=("checkout",))
    assert (verdict.trust, verdict.reasons) == (Trust.NOT_TRUSTED, ("second_opinion_failed:checkout",))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return published_lake(tmp_path_factory.mktemp("lake"))[0]


def checked(lake: Project, monkeypatch: pytest.MonkeyPatch, differ: int, note: str = "") -> tuple[int, str]:
    """`exp canary exp_test` with a given comparison."""
    cell = Cell("checkout", "treatment", 1155, differ, 40, ["y of all: published 1.0, computed again 2.0"] * differ)
    cells = [] if note else [Cell("checkout", "control", 1155), cell]
    monkeypatch.setattr(check, "cells_of", lambda *_: (cells, note))
    result = CliRunner().invoke(app, ["canary", "exp_test", "--config", str(lake.path)])
    return result.exit_code, result.stdout


def decision(lake: Project) -> tuple[str, str, list[str]]:
    rows = load_handle(lake, "gold.fct_experiment_decision").scan().to_arrow().to_pylist()
    (one,) = (r for r in rows if r["variant_id"] == "all")
    return one["trust"], one["decision"], one["reasons"]


def memo(lake: Project) -> dict[str, Any]:
    return dict(json.loads((Path(lake.resolve(lake.profile.memo_dir)) / "exp_test.json").read_text()))


def alerts(lake: Project) -> list[str]:
    return [r["kind"] for r in load_handle(lake, "ops.alerts").scan().to_arrow().to_pylist()]


def test_the_verdict_goes_where_people_look_and_a_difference_takes_the_trust_until_it_is_gone(
    lake: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decision(lake)
    assert before[:2] != ("not_trusted", "invalid")

    code, said = checked(lake, monkeypatch, differ=0)
    assert (code, decision(lake), alerts(lake)) == (0, before, [])
    assert "2,310 numbers checked by a second implementation, 0 differ" in said
    assert "40 further numbers have no second version" in said
    page = memo(lake)
    assert "2,310 numbers checked by a second implementation, 0 differ" in json.dumps(page["memo"])
    assert entry_of(page).second_opinion == "2,310 numbers checked by a second implementation, 0 differ"

    code, said = checked(lake, monkeypatch, differ=1)
    assert code == 1
    assert decision(lake) == ("not_trusted", "invalid", ["second_opinion_failed:checkout", *decision(lake)[2][1:]])
    assert alerts(lake) == ["second_opinion_differs"]
    first = memo(lake)["memo"]["first"]
    assert first["word"] == "Invalid"
    assert "2,310 numbers checked by a second implementation, 1 differ" in first["because"]
    assert "published 1.0, computed again 2.0" in first["because"]
    assert "exp canary" in first["next_step"]

    checked(lake, monkeypatch, differ=0)
    assert decision(lake) == before
    assert memo(lake)["memo"]["first"]["word"] != "Invalid"


def test_an_experiment_that_cannot_be_checked_is_no_alarm_and_says_why(
    lake: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decision(lake)
    code, said = checked(lake, monkeypatch, differ=0, note="the experiment reads streams")
    assert (code, decision(lake)) == (0, before)
    assert "this time nothing could be checked: the experiment reads streams" in said
