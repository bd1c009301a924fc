"""`exp doctor --deep`: a sound catalog is certified, and one that breaks a promise is found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from tests.conftest import make_project
from tests.postgres_server import postgres
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import ensure_tables, load_catalog
from exp_platform.ledger.pins import pin_inputs
from exp_platform.operations.certificate import Finding, certify

PROVED = ("tag kept", "stale overwrite", "concurrent", "unknown state", "clock")


def verdicts(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.verdict for one in found}


def test_a_sqlite_catalog_is_certified_and_nothing_of_the_scratch_table_is_left(project: Project) -> None:
    result = CliRunner().invoke(app, ["doctor", "--deep", "--config", str(project.path)])
    assert "ok     tag kept        kept, read back, and its rows are there after the others expired" in result.stdout
    assert "WRONG  tag" not in result.stdout
    assert "catalog sqlite on a local folder: certified" in result.stdout
    assert load_catalog(project).list_tables("ops") == []
    warehouse = Path(project.resolve(project.profile.catalog.warehouse))
    assert [path for path in warehouse.rglob("*") if "exp_doctor" in path.name] == []


@pytest.mark.slow
def test_a_postgres_catalog_is_certified(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    with postgres(folder) as address:
        catalog = {"type": "postgres", "uri": address, "warehouse": str(tmp_path / "warehouse"), "user": "postgres"}
        found = list(certify(make_project(tmp_path / "clone", catalog=catalog)))
    assert {name: verdicts(found)[name] for name in PROVED} == dict.fromkeys(PROVED, "ok")


def broken(how: str) -> Any:
    """A way to open the project's catalog that breaks one promise."""

    def open_catalog(project: Project) -> Catalog:
        catalog = load_catalog(project)
        commit = catalog.commit_table

        def dropping(table: Any, requirements: Any, updates: Any) -> Any:
            if how == "tags":
                updates = tuple(one for one in updates if getattr(one, "type", "") != "tag")
            if how == "properties":
                for one in updates:
                    if getattr(one, "snapshot", None) is not None and one.snapshot.summary is not None:
                        one.snapshot.summary._additional_properties.pop("publish_id", None)
            return commit(table, requirements, updates) if updates else table

        catalog.commit_table = dropping  # type: ignore[method-assign]
        return catalog

    return open_catalog


@pytest.mark.parametrize(
    ("how", "proof", "said"),
    [
        ("tags", "tag kept", "accepts a tag and does not keep it"),
        ("properties", "unknown state", "drops the properties of snapshots"),
    ],
)
def test_a_catalog_that_breaks_a_promise_is_found(project: Project, how: str, proof: str, said: str) -> None:
    found = {one.name: one for one in certify(project, broken(how))}
    assert found[proof].verdict == "WRONG"
    assert said in found[proof].sentence
    assert {name for name, one in found.items() if one.verdict == "WRONG"} == {proof}


def test_a_pin_that_the_catalog_does_not_keep_is_refused_when_it_is_made(project: Project) -> None:
    table = ensure_tables(project, names=("exp.assignments",))["exp.assignments"]
    snapshot = table.current_snapshot()
    assert snapshot is not None
    pins = {"exp.assignments": snapshot.snapshot_id}
    now = datetime.now(UTC)
    assert pin_inputs(project, "exp_a", "run_1", pins, 90, now) == ["exp.assignments"]
    with pytest.raises(ConfigError, match=r"accepted the tag run_\w+ of exp.assignments and does not keep it"):
        pin_inputs(project, "exp_a", "run_2", pins, 90, now, broken("tags")(project))
