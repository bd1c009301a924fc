"""`exp show` and `exp list` for people with narrow terminals, for programs, and for a pull request."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import make_project
from tests.memo_kinds import KINDS
from tests.published_lake import published_lake
from tests.unit.test_cli import exp

from exp_platform.cli import console
from exp_platform.cli.look import SortKey, by_need, sorted_by
from exp_platform.cli.scorecard import COLUMNS, LONGEST, ResultLine, scorecard
from exp_platform.config.load import Project
from exp_platform.lake.whole import write_whole
from exp_platform.memo.memo_files import memo_dir
from exp_platform.memo.render import to_json as memo_json


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return published_lake(tmp_path_factory.mktemp("show"))[0]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of 60 columns."""
    monkeypatch.setattr(console, "_width", 60)
    return 60


def test_the_scorecard_has_decision_trust_effect_with_its_interval_and_guardrails(lake: Project) -> None:
    code, output = exp(lake, "show", "exp_test", "--markdown")
    assert code == 0
    lines = output.splitlines()
    assert len(lines) <= LONGEST
    assert lines[0] == "## A test"
    assert lines[2].startswith("**Ship** · ") and lines[2].endswith("as of 2026-01-14")
    (effect,) = [line for line in lines if line.startswith("| checkout |")]
    assert " points (" in effect and " to " in effect
    assert any(line.startswith("| speed | treatment | pass | ") for line in lines)
    assert any("planned end" in line for line in lines)
    assert "`exp reproduce run_1`" in lines[-1]


def test_json_holds_the_published_rows_with_times_in_iso_form(lake: Project) -> None:
    code, output = exp(lake, "show", "exp_test", "--json")
    content = json.loads(output)
    assert code == 0
    assert (content["dt"], content["interval_in_force"]) == ("2026-01-14", "anytime")
    assert content["planned_end"].startswith("2026-02-05T00:00:00")
    assert {row["variant_id"]: row["decision"] for row in content["decisions"]} == {"all": "ship", "treatment": "ship"}
    assert [row["metric_name"] for row in content["results"] if row["is_deciding"]] == ["checkout", "speed"]
    assert content["results"][0]["effect_abs_ci_low"] < content["results"][0]["effect_abs"]


def test_the_list_as_json_has_an_object_an_experiment(lake: Project) -> None:
    listed = {row["experiment_id"]: row for row in json.loads(exp(lake, "list", "--json")[1])}
    assert listed["exp_test"] | {"trust": ""} == {
        "experiment_id": "exp_test",
        "name": "A test",
        "owner": "tests",
        "status": "running",
        "dt": "2026-01-14",
        "trust": "",
        "decision": "ship",
        "refused": None,
    }
    assert listed["exp_checkout_button_001"]["decision"] is None


@pytest.mark.parametrize("words", [["list"], ["show", "exp_test"], ["show", "exp_test", "--all-methods"]])
def test_nothing_is_cut_off_or_too_wide_in_sixty_columns(lake: Project, narrow: int, words: list[str]) -> None:
    code, output = exp(lake, *words)
    assert code == 0
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= narrow
    for whole in ("exp_test", "2026-01-14", "ship"):
        assert whole in output


def test_a_narrow_row_has_its_name_on_the_first_line_and_a_line_a_column(lake: Project, narrow: int) -> None:
    lines = exp(lake, "list")[1].splitlines()
    at = lines.index("exp_test")
    assert lines[at + 1 : at + 5] == [
        "  name      A test",
        "  owner     tests",
        "  status    running",
        "  as of     2026-01-14",
    ]


def test_the_list_is_sorted_by_a_column_and_what_has_none_comes_last() -> None:
    rows: list[dict[str, Any]] = [
        {"experiment_id": "a", "owner": "Search", "dt": None, "trust": None},
        {"experiment_id": "b", "owner": "checkout", "dt": date(2026, 1, 2), "trust": "trusted"},
        {"experiment_id": "c", "owner": "growth", "dt": date(2026, 1, 3), "trust": "caution"},
        {"experiment_id": "d", "owner": None, "dt": date(2026, 1, 3), "trust": "caution"},
    ]
    ordered = {key: "".join(row["experiment_id"] for row in sorted_by(key, rows)) for key in SortKey if key in _TRIED}
    assert ordered == {"experiment": "abcd", "owner": "bcad", "as-of": "cdba", "trust": "cdba"}


def test_the_list_has_the_order_of_the_page_of_experiments(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for name in ("win", "early", "srm"):
        write_whole(memo_dir(project) / f"{name}.json", memo_json(KINDS[name]()))
    rows: list[dict[str, Any]] = [{"experiment_id": name} for name in ("unknown", "win", "early", "srm")]
    ordered = by_need(rows, project, date(2026, 2, 8))
    assert [row["experiment_id"] for row in ordered] == ["srm", "early", "win", "unknown"]


_TRIED = (SortKey.EXPERIMENT, SortKey.OWNER, SortKey.AS_OF, SortKey.TRUST)


def test_a_column_that_the_list_does_not_have_is_refused_with_those_that_it_has(lake: Project) -> None:
    code, output = exp(lake, "list", "--sort", "size")
    assert code == 2
    assert "as-of" in output


def line(metric: str) -> ResultLine:
    return ResultLine((metric, *COLUMNS[1:]), "ok *")


def decision(arm: str, trust: str = "trusted", **columns: Any) -> dict[str, Any]:
    row = {"variant_id": arm, "trust": trust, "decision": "ship", "reasons": ["primary_better"], "run_id": "r"}
    return row | {"config_hash": "0123456789abcdef", "policy": "default v2"} | columns


def test_a_scorecard_stays_within_its_lines_whatever_there_is_to_show(lake: Project) -> None:
    experiment = lake.experiment("exp_test")
    decisions = [decision("all", reasons=[f"guardrail_failed:m{i}" for i in range(80)]), decision("a"), decision("b")]
    page = scorecard(experiment, date(2026, 1, 14), "x", decisions, [line(f"m{i}") for i in range(200)], [])
    assert len(page.splitlines()) == LONGEST
    assert "- and 72 more" in page and "more lines: `exp show exp_test`" in page
    assert "Arms: a: Ship; b: Ship." in page


def test_a_scorecard_that_is_not_trusted_shows_no_effect(lake: Project) -> None:
    experiment = lake.experiment("exp_test")
    page = scorecard(experiment, date(2026, 1, 14), "x", [decision("all", "not_trusted")], [line("m")], [])
    assert "| metric | arm | method | status |" in page
    assert "effects would mean nothing" in page and "interval |" not in page


def test_hostile_names_stay_text_in_a_scorecard(lake: Project) -> None:
    experiment = lake.experiment("exp_test").model_copy(update={"name": "<script>| a\nb", "owner": "*x*"})
    page = scorecard(experiment, date(2026, 1, 14), "x", [decision("all")], [replace(line("m"), status="ok")], [])
    assert page.splitlines()[0] == "## &lt;script&gt;\\| a b"
    assert "\\*x\\*" in page
