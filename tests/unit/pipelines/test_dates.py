"""A run without a date gets one by one rule, whoever starts it and whether or not it generates its events first."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from exp_platform.config.load import Project
from exp_platform.pipelines.dates import default_dt
from exp_platform.pipelines.job import run_of

ID = "exp_checkout_button_001"
NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)
LAST = date(2026, 2, 15)  # the last day that the generator fills


def raw_days(project: Project, *days: str, generated: bool) -> None:
    folder = Path(project.raw_folder(ID))
    for day in days:
        (folder / "outcomes" / f"dt={day}").mkdir(parents=True)
    if generated:
        scenario = project.scenario(ID).model_dump(mode="json")
        (folder / "_synthetic.json").write_text(json.dumps({"fingerprint": "f", "scenario": scenario, "rows": {}}))


def test_before_and_after_the_generation_it_is_the_same_day_also_with_a_late_refund(project: Project) -> None:
    assert default_dt(project, ID, NOW, generate_synth=True) == LAST
    raw_days(project, "2026-02-14", "2026-02-15", "2026-02-17", generated=True)
    assert default_dt(project, ID, NOW, generate_synth=True) == LAST
    assert default_dt(project, ID, NOW) == LAST


def test_the_last_day_of_real_events_counts_whatever_the_scenario_would_fill(project: Project) -> None:
    raw_days(project, "2026-02-14", "2026-02-17", generated=False)
    assert default_dt(project, ID, NOW) == date(2026, 2, 17)


@pytest.mark.parametrize("generated", [True, False])
def test_a_day_that_is_not_over_is_never_taken(project: Project, generated: bool) -> None:
    raw_days(project, "2026-01-20", "2026-02-15", generated=generated)
    early = datetime(2026, 1, 12, 0, 1, tzinfo=UTC)
    assert default_dt(project, ID, early) == date(2026, 1, 11)
    assert default_dt(project, ID, early, generate_synth=True) == date(2026, 1, 11)


def test_without_any_events_it_is_yesterday(project: Project) -> None:
    assert default_dt(project, ID, NOW) == date(2026, 11, 28)


@pytest.mark.parametrize("generate_synth", [True, False])
def test_exp_run_and_a_stage_by_hand_take_that_day(project: Project, generate_synth: bool) -> None:
    raw_days(project, "2026-02-15", "2026-02-17", generated=True)
    words = {"config": str(project.path), "experiment_id": ID, "dt": None, "run_id": None, "analysis_mode": None}
    assert run_of(argparse.Namespace(**words, generate_synth=generate_synth), NOW).dt == LAST
