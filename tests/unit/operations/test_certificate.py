"""`exp doctor --deep`: a sound catalog is certified, and one that breaks a promise is found."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pyiceberg.catalog import Catalog
from tests.conftest import make_project
from tests.postgres_server import postgres
from typer.testing import CliRunner

from exp_platform.cli import app
from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.lake import connections
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
def test_a_postgres_catalog_is_certified_and_says_in_one_sentence_what_is_wrong_with_it(tmp_path: Path) -> None:
    # Not below tmp_path: when another pytest starts, it takes the right to enter that from the server's user.
    folder = Path(tempfile.mkdtemp(prefix="exp_postgres_"))
    with rmtree_after(folder), postgres(folder) as address:
        catalog = {"type": "postgres", "uri": address, "warehouse": str(tmp_path / "warehouse"), "user": "postgres"}
        project = make_project(tmp_path / "clone", catalog=catalog)
        found = list(certify(project))
        assert {name: verdicts(found)[name] for name in PROVED} == dict.fromkeys(PROVED, "ok")

        catalogs = [load_catalog(project) for _ in range(4)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda number: catalogs[number % 4].list_tables("ops"), range(64))) == [[]] * 64
        assert 1 <= connections_to(address) <= connections.MOST

        with pytest.raises(ConfigError, match=r"is not there \(database .nowhere. does not exist\): correct"):
            load_catalog(changed(project, uri=address.replace("/postgres", "/nowhere")))
        want_passwords(folder, address)
        with pytest.raises(ConfigError, match=r"refuses the user 'postgres' \(password authentication failed") as said:
            load_catalog(changed(project, password="canary"))
        assert "canary" not in str(said.value)
    with pytest.raises(ExpError, match=r"does not answer \(.*Connection refused.*\); start it, then try again") as gone:
        load_catalog(project)
    assert (said.value.exit_code, gone.value.exit_code) == (64, 1)


@contextmanager
def rmtree_after(folder: Path) -> Iterator[None]:
    """Remove a folder at the end of a block."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def changed(project: Project, **catalog: str) -> Project:
    """The project with other keys of its catalog."""
    settings = project.profile.catalog.model_copy(update=catalog)
    return replace(project, profile=project.profile.model_copy(update={"catalog": settings}))


def connections_to(address: str) -> int:
    """The number of connections that the server has, but for the one that asks."""
    with closing(psycopg2.connect(f"postgresql://postgres@{address}")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()")
        ((found,),) = cursor.fetchall()
    return int(found)


def want_passwords(folder: Path, address: str) -> None:
    """Let the server ask every client for a password."""
    with psycopg2.connect(f"postgresql://postgres@{address}") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER USER postgres PASSWORD 'right'")
        (folder / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()
    time.sleep(0.5)  # the server reads its rules after it has answered


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
