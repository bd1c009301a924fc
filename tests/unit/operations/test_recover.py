"""A catalog that is lost beside a full warehouse is loud, and can be recovered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from tests.conftest import make_project
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.cli.doctor import diagnose
from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import backup_of, ensure_tables, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DIM_EXPERIMENT_VARIANT
from exp_platform.operations.maintenance import maintain
from exp_platform.operations.recover import back_up, recover
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_stage import run_stage

ID = "exp_checkout_button_001"
RUN = date(2026, 2, 1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A lake in which two variants are published."""
    project = make_project(tmp_path_factory.mktemp("lost"))
    run_stage(Run(project, ID, RUN, "r1"), BY_NAME["sync_registry"])
    return project


@pytest.fixture
def catalog(project: Project) -> Path:
    """The catalog's file."""
    return Path(project.resolve(project.profile.catalog.uri))


def arms(project: Project) -> list[str]:
    rows = read_rows(load_handle(project, DIM_EXPERIMENT_VARIANT), {"experiment_id": ID})
    return sorted(row["variant_id"] for row in rows)


def with_catalog(project: Project, content: bytes | None) -> Project:
    """The project beside the same warehouse, with a catalog file of this content; None: with no file."""
    path = project.root / "other.db"
    for file in project.root.glob("other.db*"):
        file.unlink()
    if content is not None:
        path.write_bytes(content)
    settings = project.profile.catalog.model_copy(update={"uri": str(path)})
    return replace(project, profile=project.profile.model_copy(update={"catalog": settings}))


def files_of(project: Project) -> set[Path]:
    return {file for file in Path(project.resolve(project.profile.catalog.warehouse)).rglob("*") if file.is_file()}


@pytest.mark.parametrize("content", [None, b""], ids=["deleted", "emptied"])
def test_a_catalog_that_has_lost_its_tables_stops_every_stage_and_maintenance(
    project: Project, catalog: Path, content: bytes | None
) -> None:
    lost, files = with_catalog(project, content), files_of(project)
    with pytest.raises(ConfigError, match=r"holds .* but the catalog does not know it.*exp doctor --recover"):
        run_stage(Run(lost, ID, RUN, "r2"), BY_NAME["sync_registry"])
    with pytest.raises(ConfigError, match="the catalog does not know it"):
        maintain(lost, "orphans", datetime(2027, 1, 1), print)
    assert files_of(project) == files


def test_recovery_registers_each_table_as_it_was(project: Project, catalog: Path) -> None:
    before = {name: handle.metadata_location for name, handle in ensure_tables(project).items()}
    lost = with_catalog(project, None)
    assert dict(_configuration_and_catalog(lost))["catalog"].startswith("the warehouse holds")
    assert len(list(recover(lost))) == len(TABLES)
    assert {name: handle.metadata_location for name, handle in ensure_tables(lost).items()} == before
    assert arms(lost) == ["control", "treatment"]
    assert list(recover(lost)) == []


def _configuration_and_catalog(project: Project) -> Iterator[tuple[str, str]]:
    return ((name, seen) for name, _, seen in diagnose(project))


def test_the_command_recovers_before_it_checks(project: Project, catalog: Path) -> None:
    path = project.path.with_name("lost.yaml")
    path.write_text(project.path.read_text().replace("data/catalog.db", "data/lost.db"))
    done = CliRunner().invoke(app, ["doctor", "--recover", "--config", str(path)])
    assert f"{DIM_EXPERIMENT_VARIANT}: registered as of snapshot" in done.output
    assert f"ok     catalog        {len(TABLES)} tables" in done.output


def test_two_newest_files_are_left_for_a_person(project: Project, catalog: Path) -> None:
    location = Path(load_handle(project, DIM_EXPERIMENT_VARIANT).metadata_location.removeprefix("file://"))
    left_behind = location.with_name(location.name[:6] + "of-a-writer-that-lost.metadata.json")
    shutil.copy(location, left_behind)
    said = {sentence.split(":")[0]: sentence for sentence in recover(with_catalog(project, None))}
    left_behind.unlink()
    assert len(said) == len(TABLES)
    assert "not registered, because several files" in said[DIM_EXPERIMENT_VARIANT]


def test_the_backup_of_a_catalog_can_be_put_back(project: Project, catalog: Path) -> None:
    assert back_up(project) == backup_of(catalog)
    assert arms(with_catalog(project, backup_of(catalog).read_bytes())) == ["control", "treatment"]


def test_a_catalog_that_is_cut_in_half_is_one_sentence(project: Project, catalog: Path) -> None:
    back_up(project)
    whole = backup_of(catalog).read_bytes()
    with pytest.raises(ConfigError, match=r"other\.db cannot be read .*other\.db\.backup"):
        load_handle(with_catalog(project, whole[: len(whole) // 2]), DIM_EXPERIMENT_VARIANT)


def test_a_lost_metadata_file_is_no_reason_to_throw_the_lake_away_and_recovery_takes_the_one_before(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path)
    handle = ensure_tables(project, names=(DIM_EXPERIMENT_VARIANT,))[DIM_EXPERIMENT_VARIANT]
    kept = handle.current_snapshot()
    handle.append(handle.scan().to_arrow())
    Path(handle.metadata_location.removeprefix("file://")).unlink()
    with pytest.raises(
        ConfigError, match=r"metadata file is gone.*`exp doctor --recover`.*Nothing was changed"
    ) as told:
        load_handle(project, DIM_EXPERIMENT_VARIANT)
    assert "make reset" not in str(told.value)
    (sentence,) = recover(project)
    assert kept and f"{DIM_EXPERIMENT_VARIANT}: registered as of snapshot {kept.snapshot_id}" in sentence
    assert load_handle(project, DIM_EXPERIMENT_VARIANT).current_snapshot() == kept
