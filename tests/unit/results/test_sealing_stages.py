"""A plan that is sealed, kept, moved and run again, through the stages without Spark, on a lake made by hand."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import pytest
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import answers, clone, configured, put, quality_rows
from tests.stages import opened
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.models import Guardrail
from exp_platform.ledger.claim import claim, release
from exp_platform.ledger.seals import seal_rows
from exp_platform.memo.effect_words import figures, relative_figures
from exp_platform.memo.figures import p_text
from exp_platform.memo.memo_files import memo_dir
from exp_platform.pipelines.registry import BY_NAME

STAGES = ("sync_registry", "analyze_results", "validate_statistics", "check_guardrails", "write_memo")
METRICS = [hm.metric("revenue"), hm.metric("speed", direction="decrease")]
EARLIER = hm.START + timedelta(days=14)  # windows of the primary close on 22 January
ID = "exp_test"


class Story:
    """Runs of one experiment in order, and what each of them left behind."""

    def __init__(self, folder) -> None:
        guardrails = (Guardrail(metric="speed", max_relative_harm=0.05),)
        self.experiment = hm.experiment(METRICS, guardrails=guardrails)
        self.project = clone(folder, METRICS, hm.plan(METRICS, guardrails=guardrails))
        empty_lake(self.project)
        units = hm.draw_units(1, 2000, effects={"treatment": 0.06})
        put(self.project, hm.STATISTICS, hm.statistics([(METRICS[0], units), (METRICS[1], hm.draw_units(2, 2000))]))
        put(self.project, "gold.fct_experiment_quality_metrics_daily", quality_rows(hm.assigned(units)))
        self.log: list[str] = []

    def run(self, day: int, run_id: str, hour: int = 3, stages=STAGES, **keys) -> None:
        """One run as of a day of January, under the first configuration with other keys."""
        self.project = configured(self.project, self.experiment.model_copy(update=keys))
        dt = date(2026, 1, day)
        claim(self.project, ID, run_id, dt, started_by="run_end_to_end")
        for name in stages:
            now = datetime(2026, 3, 1, hour, tzinfo=hm.START.tzinfo)
            with opened(self.project, ID, dt, run_id, name, log=self.log.append, now=now) as ctx:
                BY_NAME[name].run(ctx)
        release(self.project, ID, run_id)

    def seals(self) -> list[dict]:
        return seal_rows(self.project, ID)

    def memo(self, day: int, suffix: str = "json"):
        text = (memo_dir(self.project) / ID / f"2026-01-{day:02}.{suffix}").read_text()
        return json.loads(text) if suffix == "json" else text

    def decision(self, day: int) -> dict:
        rows = answers(self.project, "gold.fct_experiment_decision")
        (row,) = (r for r in rows if r["variant_id"] == "all" and r["dt"] == date(2026, 1, day))
        return row

    def shown(self, *words: str) -> str:
        done = CliRunner().invoke(app, ["show", ID, *words, "--config", str(self.project.path)])
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Sealed on the 14th; the end moved before the 24th's run; an earlier day again; another primary from the 25th."""
    told = Story(tmp_path_factory.mktemp("story"))
    told.run(14, "first")
    told.run(14, "again")
    told.run(24, "moved", end_ts=EARLIER)
    told.run(24, "moved", end_ts=EARLIER)
    told.run(16, "backfill", end_ts=EARLIER, alpha=0.2)
    told.run(25, "switched", end_ts=EARLIER, primary_metric="speed")
    return told


def test_a_run_before_the_start_seals_nothing(tmp_path):
    early = Story(tmp_path)
    early.run(1, "before", stages=("sync_registry",), start_ts=hm.START + timedelta(days=1))
    assert early.seals() == []
    early.run(2, "at the start", stages=("sync_registry",), start_ts=hm.START + timedelta(days=1))
    assert [row["seal"] for row in early.seals()] == [0]


def test_a_plan_is_sealed_once_and_only_a_later_change_is_an_amendment(story):
    assert [(row["seal"], row["run_id"], row["dt"].day) for row in story.seals()] == [
        (0, "first", 14),
        (1, "moved", 24),
        (2, "switched", 25),
    ]
    first, moved, switched = story.seals()
    assert first["changes"] == [] and first["effect_on_verdict"] is None
    assert moved["changes"][0] == "end_ts: 2026-01-29T00:00:00Z → 2026-01-15T00:00:00Z"
    assert "primary_metric: revenue → speed" in switched["changes"]
    assert {row["started_by"] for row in story.seals()} == {"run_end_to_end"}


def test_an_end_moved_earlier_keeps_the_anytime_interval_in_force(story):
    assert story.decision(14)["interval_in_force"] == "anytime"
    after_the_moved_end = story.decision(24)
    assert (
        after_the_moved_end["planned_end"]
        == EARLIER + timedelta(days=7)
        < datetime(2026, 1, 25, tzinfo=hm.START.tzinfo)
    )
    assert after_the_moved_end["interval_in_force"] == "anytime"


def test_the_effect_on_the_verdict_is_written_once_as_of_the_amendments_day(story):
    _, moved, switched = story.seals()
    assert moved["effect_on_verdict"].startswith("as of 2026-01-24 the sealed plan gives keep running, the present one")
    assert switched["effect_on_verdict"].startswith("as of 2026-01-25 the sealed plan gives keep running")


def test_a_changed_primary_makes_the_result_exploratory(story):
    row = story.decision(25)
    assert (row["decision"], row["trust"]) == ("inconclusive", "caution")
    assert row["reasons"][0] == "primary_changed:revenue to speed"
    assert "primary_changed:revenue to speed" not in story.decision(24)["reasons"]


def test_the_memo_tells_plan_and_amendments_in_html_and_markdown_alike(story):
    section = story.memo(25)["sealed_plan"]
    assert section["sealed"]["run_id"] == "first" and section["not_recorded"] == []
    assert [row["seal"] for row in section["amendments"]] == [1, 2]
    for text in (story.memo(25, "html"), story.memo(25, "md").replace("\\", "")):
        assert "Plan and amendments" in text
        assert "end_ts: 2026-01-29T00:00:00Z → 2026-01-15T00:00:00Z" in text
        assert "The primary metric was revenue when the plan was sealed and is speed now" in text
        assert "the sealed plan gives keep running, the present one" in text
        assert "run_end_to_end" in text


def test_the_memo_of_a_plan_that_was_kept_says_so(story):
    assert "Nothing was amended since." in story.memo(14, "html") and "Nothing was amended since." in story.memo(
        14, "md"
    )
    assert story.memo(14)["sealed_plan"]["effect"] is None


def test_an_earlier_day_that_is_run_again_says_that_its_plan_is_another_one(story):
    section = story.memo(16)["sealed_plan"]
    assert section["not_recorded"] == ["alpha: 0.05 → 0.2"]
    assert "it adds no amendment" in story.memo(16, "html") and "it adds no amendment" in story.memo(16, "md")
    assert section["effect"].startswith("not to be told from the published results of 2026-01-16")


def test_exp_show_names_the_interval_in_force_and_shows_the_numbers_of_the_memo(story):
    shown = " ".join(story.shown("--dt", "2026-01-14").split())
    assert "interval in force: anytime-valid (may be looked at every day); planned end 2026-02-05 00:00 UTC" in shown
    row = next(row for row in story.memo(14)["metrics"] if row["metric"] == "revenue")
    assert f"{figures(row)} {relative_figures(row)}" in shown and p_text(row["p_value_adjusted"]) in shown
    assert f"| {figures(row)} |" in story.memo(14, "md")


def test_exp_show_says_why_the_interval_is_not_the_fixed_one_after_a_moved_end(story):
    why = "anytime-valid (also after the planned end, because the plan was changed after the start)"
    assert f"interval in force: {why}; planned end 2026-01-22 00:00 UTC" in story.shown("--dt", "2026-01-24")
    assert why in story.memo(24, "html") and why in story.memo(24, "md")


def test_the_memo_says_how_long_after_the_start_the_plan_was_sealed(story):
    assert "13 days after the start" in story.memo(14, "html")
