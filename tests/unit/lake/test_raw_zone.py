"""The last day that the raw zone holds decides dt where none is given."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from exp_platform.config.load import Project
from exp_platform.lake.raw_zone import list_days

ID = "exp_checkout_button_001"


def test_days_are_those_that_the_folders_of_the_datasets_name(project: Project) -> None:
    folder = Path(project.raw_folder(ID))
    for name in ("outcomes/dt=2026-01-07", "exposures/dt=2026-01-05", "attributes/dt=2025-12-01/part", "outcomes/x"):
        (folder / name).mkdir(parents=True)
    assert list_days(project, ID) == [date(2025, 12, 1), date(2026, 1, 5), date(2026, 1, 7)]


def test_a_day_that_is_in_no_calendar_and_other_folders_name_none(project: Project) -> None:
    folder = Path(project.raw_folder(ID))
    for name in ("outcomes/dt=2026-02-30", "outcomes/dt=2026-13-01", "outcomes/_dt=2026-01-09", "notes/dt=2027-01-01"):
        (folder / name).mkdir(parents=True)
    (folder / "read.me").write_text("x")
    assert list_days(project, ID) == []


def test_an_experiment_without_raw_data_has_no_days(project: Project) -> None:
    assert list_days(project, ID) == []
