"""The last day that the raw zone holds decides dt where none is given."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyarrow import fs
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake import raw_zone
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


def test_a_bucket_that_is_not_there_is_no_experiment_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store lists a missing bucket as an empty one; folders stand for buckets here."""
    store = {"endpoint": "http://store:9000", "access_key": "a", "secret_key": "b"}
    project = make_project(tmp_path / "clone", raw_root="s3a://raw/zone", object_store=store)
    buckets = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(raw_zone, "filesystem", lambda project, place: (buckets, place.partition("://")[2]))
    with pytest.raises(
        ConfigError, match=r"the bucket 'raw' of s3a://raw/zone is not in the object store http://store"
    ):
        list_days(project, ID)
    (tmp_path / "raw").mkdir()
    assert list_days(project, ID) == []
