"""The catalog: every table made once, in this clone, and kept up with its declaration."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pyiceberg.catalog import Catalog
from pyspark.sql.pandas.types import from_arrow_schema
from tests.conftest import make_project

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ConfigError
from exp_platform.lake import catalog as lake_catalog
from exp_platform.lake.catalog import ensure_tables, load_catalog
from exp_platform.lake.rows import lies_as_declared
from exp_platform.lake.tables import TABLES, Table
from exp_platform.lake.types import arrow_schema, iceberg_schema, spark_type, to_arrow
from exp_platform.spark.catalog_settings import spark_catalog_conf

DIM = "silver.dim_experiment_variant"


@pytest.fixture(scope="module")
def lake_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("catalog"))
    ensure_tables(project)
    return project


def test_every_declared_table_exists_with_its_columns_and_nulls(lake_project: Project) -> None:
    for name, handle in ensure_tables(lake_project).items():
        table = TABLES[name]
        assert [field.name for field in handle.schema().fields] == [*table.columns], name
        required = {field.name for field in handle.schema().fields if field.required}
        assert required == set(table.required), name
        own = table.grain[:1] if {"experiment_id", "stream"} & table.columns.keys() else ()
        assert tuple(field.name for field in handle.spec().fields[:1]) == own, name


def test_tables_with_dt_in_their_grain_are_partitioned_by_it(lake_project: Project) -> None:
    with_dt = {name: table for name, table in TABLES.items() if table.has_dt and not name.startswith("ops.")}
    assert "exp.analysis_results" in with_dt
    for name, table in with_dt.items():
        assert table.partition == ("experiment_id", "dt"), name


def test_every_table_has_a_first_snapshot_for_the_fence_and_statistics_of_whole_ids(lake_project: Project) -> None:
    for handle in ensure_tables(lake_project).values():
        assert handle.current_snapshot() is not None
        if "experiment_id" in handle.schema().column_names:
            assert handle.properties["write.metadata.metrics.column.experiment_id"] == "full"
        assert handle.properties["commit.retry.num-retries"] == "50"


def test_a_second_set_up_changes_nothing(lake_project: Project) -> None:
    before = {name: handle.metadata_location for name, handle in ensure_tables(lake_project).items()}
    assert {name: handle.metadata_location for name, handle in ensure_tables(lake_project).items()} == before


def test_a_column_declared_later_is_added_and_old_rows_are_null_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path)
    ensure_tables(project, names=(DIM,))
    wider = replace(
        TABLES[DIM],
        columns=TABLES[DIM].columns | {"weight": "double", "tags": "list<string>"},
        descriptions=TABLES[DIM].descriptions | {"weight": "How much it counts."},
    )
    monkeypatch.setitem(lake_catalog.TABLES, DIM, wider)

    handle = ensure_tables(project, names=(DIM,))[DIM]

    assert [field.name for field in handle.schema().fields] == [*wider.columns]
    assert not handle.schema().find_field("weight").required
    assert handle.schema().find_field("weight").doc == "How much it counts."
    assert ensure_tables(project, names=(DIM,))[DIM].metadata_location == handle.metadata_location


def test_the_columns_of_a_new_table_say_what_they_hold(lake_project: Project) -> None:
    for name, handle in ensure_tables(lake_project).items():
        assert {field.name: field.doc for field in handle.schema().fields} == TABLES[name].descriptions, name
        assert len(handle.metadata.schemas) == 1, f"{name}: described when it is made, not by a second commit"


def test_an_older_table_gets_the_descriptions_once_and_keeps_its_rows_and_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path)
    monkeypatch.setitem(lake_catalog.TABLES, DIM, replace(TABLES[DIM], descriptions={"is_control": "old words"}))
    old = ensure_tables(project, names=(DIM,))[DIM]
    monkeypatch.undo()

    handle = ensure_tables(project, names=(DIM,))[DIM]

    assert {field.name: field.doc for field in handle.schema().fields} == TABLES[DIM].descriptions
    assert [(f.field_id, f.name, f.required) for f in handle.schema().fields] == [
        (f.field_id, f.name, f.required) for f in old.schema().fields
    ]
    assert handle.current_snapshot() == old.current_snapshot()
    assert ensure_tables(project, names=(DIM,))[DIM].metadata_location == handle.metadata_location


def test_a_column_that_may_be_null_by_now_is_no_longer_required_in_an_older_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, column = make_project(tmp_path), "expected_allocation"
    strict = replace(TABLES[DIM], columns=TABLES[DIM].columns | {column: "double!"})
    monkeypatch.setitem(lake_catalog.TABLES, DIM, strict)
    assert ensure_tables(project, names=(DIM,))[DIM].schema().find_field(column).required
    monkeypatch.undo()

    handle = ensure_tables(project, names=(DIM,))[DIM]

    assert not handle.schema().find_field(column).required
    assert handle.schema().find_field(column).doc == TABLES[DIM].descriptions[column]
    assert handle.schema().find_field("variant_id").required
    assert ensure_tables(project, names=(DIM,))[DIM].metadata_location == handle.metadata_location


def test_a_column_of_another_version_keeps_its_values_and_a_partition_field_declared_later_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, now = make_project(tmp_path), replace(TABLES[DIM], partition=("experiment_id", "variant_id"))
    other = replace(TABLES[DIM], columns=TABLES[DIM].columns | {"note": "string"})
    monkeypatch.setitem(lake_catalog.TABLES, DIM, other)
    row = {"experiment_id": "exp_one", "variant_id": "a", "is_control": True, "expected_allocation": 1.0}
    row |= {"updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    handle = ensure_tables(project, names=(DIM,))[DIM]
    handle.append(to_arrow(other, [row | {"note": "kept"}]).cast(arrow_schema(other)))
    old = handle.current_snapshot()
    assert old is not None
    monkeypatch.setitem(lake_catalog.TABLES, DIM, now)

    handle = ensure_tables(project, names=(DIM,))[DIM]

    assert [found["note"] for found in handle.scan().to_arrow().to_pylist()] == ["kept"]
    assert [field.name for field in handle.spec().fields] == ["experiment_id", "variant_id"]
    assert not lies_as_declared(handle, old.snapshot_id, {"experiment_id": "exp_one"})
    handle.overwrite(to_arrow(now, [row]).cast(arrow_schema(now)), overwrite_filter="experiment_id = 'exp_one'")
    new = handle.current_snapshot()
    assert new is not None and lies_as_declared(handle, new.snapshot_id, {"experiment_id": "exp_one"})
    assert ensure_tables(project, names=(DIM,))[DIM].metadata_location == handle.metadata_location


def test_two_processes_may_set_up_the_same_new_lake_at_once(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    code = (
        "import sys; from exp_platform.config.load import load_project; "
        "from exp_platform.lake.catalog import ensure_tables; print(len(ensure_tables(load_project(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(project.path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-2000:]
        assert out.strip() == str(len(TABLES))
    catalog = load_catalog(project)
    assert {".".join(t) for namespace in ("exp", "silver", "gold", "ops") for t in catalog.list_tables(namespace)} == {
        *TABLES
    }


def test_a_clone_that_was_moved_is_told_to_reset(tmp_path: Path) -> None:
    project = make_project(tmp_path / "before")
    ensure_tables(project, names=(DIM,))
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(ConfigError, match=r"its metadata file is gone.*`make reset`"):
        ensure_tables(load_project(tmp_path / "after" / "configs" / "dev.yaml"), names=(DIM,))


def test_a_clone_that_was_copied_does_not_write_into_the_original(tmp_path: Path) -> None:
    project = make_project(tmp_path / "original")
    ensure_tables(project, names=(DIM,))
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"outside of this clone's warehouse .*`make reset`"):
        ensure_tables(load_project(tmp_path / "copy" / "configs" / "dev.yaml"), names=(DIM,))


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_the_three_languages_agree_on_every_column(table: Table) -> None:
    assert [field.name for field in iceberg_schema(table).fields] == arrow_schema(table).names
    for field in from_arrow_schema(arrow_schema(table)).fields:  # the types that Spark makes of Arrow's
        assert field.nullable == (field.name not in table.required)
        assert field.dataType.simpleString() == spark_type(table.types[field.name])


def _profile(tmp_path: Path, **catalog: str) -> Project:
    project = make_project(tmp_path)
    content = yaml.safe_load(project.path.read_text())
    content["catalog"] = catalog
    content["object_store"] = {"endpoint": "http://127.0.0.1:9", "access_key": "key", "secret_key": "hidden"}
    project.path.write_text(yaml.safe_dump(content))
    return load_project(project.path)


def test_spark_and_pyiceberg_name_the_same_postgres_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = _profile(
        tmp_path, type="postgres", uri="db:5432/lake", warehouse="s3://lake/iceberg", user="me", password="p@ss/word"
    )
    seen: dict[str, str] = {}

    def remember(name: str, **properties: str) -> Catalog | None:
        seen.update(properties, name=name)
        return None

    monkeypatch.setattr(lake_catalog, "load_pyiceberg_catalog", remember)
    monkeypatch.setattr(lake_catalog, "share_connections", lambda _, uri: seen.update(shared=uri))
    load_catalog(project)
    conf = {k.removeprefix("spark.sql.catalog.iceberg."): v for k, v in spark_catalog_conf(project).items()}

    assert seen["name"] == "iceberg"
    assert seen["uri"] == seen["shared"] == "postgresql+psycopg2://me:p%40ss%2Fword@db:5432/lake"
    assert (conf["uri"], conf["jdbc.user"], conf["jdbc.password"]) == (
        "jdbc:postgresql://db:5432/lake",
        "me",
        "p@ss/word",
    )
    assert seen["warehouse"] == conf["warehouse"] == "s3://lake/iceberg"
    assert conf["io-impl"] == "org.apache.iceberg.aws.s3.S3FileIO"
    assert seen["s3.endpoint"] == conf["s3.endpoint"]


def test_a_rest_catalog_gets_its_credential_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = _profile(
        tmp_path, type="rest", uri="http://catalog:8181", warehouse="s3://lake/x", user="id", password="secret"
    )
    seen: dict[str, str] = {}
    monkeypatch.setattr(lake_catalog, "load_pyiceberg_catalog", lambda name, **properties: seen.update(properties))
    load_catalog(project)
    conf = spark_catalog_conf(project)
    assert seen["credential"] == conf["spark.sql.catalog.iceberg.credential"] == "id:secret"
    assert seen["type"] == conf["spark.sql.catalog.iceberg.type"] == "rest"
