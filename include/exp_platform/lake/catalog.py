"""The Iceberg catalog `iceberg`, the same for Spark and PyIceberg, with every declared table in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.catalog import load_catalog as load_pyiceberg_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import BucketTransform, IdentityTransform
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog_properties import BUSY_SECONDS, location_of, pyiceberg_properties, warehouse_of
from exp_platform.lake.clock import refuse_clock_behind
from exp_platform.lake.connections import share_connections
from exp_platform.lake.metadata_files import metadata_files
from exp_platform.lake.outages import explained, is_refused_login
from exp_platform.lake.raw_zone import require_bucket
from exp_platform.lake.tables import TABLES, Table, bucket_of
from exp_platform.lake.types import arrow_schema, iceberg_schema, iceberg_type

CATALOG = "iceberg"  # Spark and PyIceberg must use the same name: with two, one of them silently sees nothing

T = TypeVar("T")

# All writers of a table race for one pointer: with the default of 4 retries some commits are lost.
PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "50",
    "commit.retry.min-wait-ms": "40",
    "commit.retry.max-wait-ms": "2000",
    "commit.manifest-merge.enabled": "true",  # PyIceberg's default is one more manifest with every commit, for ever
    "write.metadata.compression-codec": "gzip",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
    "write.parquet.compression-codec": "zstd",
    "write.distribution-mode": "hash",
    "write.delete.isolation-level": "serializable",
    "write.update.isolation-level": "serializable",
}


def load_catalog(project: Project) -> Catalog:
    """The PyIceberg catalog of a profile."""
    settings = project.profile.catalog
    if settings.type == "sqlite":
        _open_as_wal(Path(project.resolve(settings.uri)))
    properties = pyiceberg_properties(project)
    with explained(project):
        catalog = _again(lambda: load_pyiceberg_catalog(CATALOG, **properties))
    if settings.type == "postgres":
        share_connections(catalog, properties["uri"])
    return catalog


def ensure_tables(
    project: Project, catalog: Catalog | None = None, names: tuple[str, ...] = tuple(TABLES)
) -> dict[str, IcebergTable]:
    """Create what is missing, add columns that were declared later, and return a handle of each table as it is now."""
    catalog = catalog or load_catalog(project)

    def ensure(name: str) -> IcebergTable:
        with explained(project):
            handle = _again(lambda: _load_or_create(project, catalog, TABLES[name]))
        _refuse_other_place(project, handle)
        return _evolve(handle, TABLES[name])

    # Metadata files are small and far away on an object store: read several at once.
    far = project.profile.object_store is not None or project.profile.catalog.type != "sqlite"
    with ThreadPoolExecutor(max_workers=8 if far else 1) as pool:
        return dict(zip(names, pool.map(ensure, names), strict=True))


def load_handle(project: Project, name: str, catalog: Catalog | None = None) -> IcebergTable:
    """One table as it is now; created when missing."""
    return ensure_tables(project, catalog, (name,))[name]


def existing_handle(project: Project, name: str) -> IcebergTable | None:
    """One table as it is now, or None where there is none: nothing is created, not even a catalog."""
    settings = project.profile.catalog
    if settings.type == "sqlite" and not Path(project.resolve(settings.uri)).exists():
        return None
    try:
        return load_catalog(project).load_table(name)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def commit_again(handle: IcebergTable, change: Callable[[IcebergTable], T], attempts: int = 50) -> T:
    """Apply a change of refs or schema, reloading when another process committed first."""
    for attempt in range(attempts):
        refuse_clock_behind(handle)
        try:
            return change(handle)
        except CommitFailedException:
            if attempt + 1 == attempts:
                raise
            time.sleep(min(0.04 * 2**attempt, 2.0))
            handle.refresh()
    raise AssertionError("unreachable")


def partition_spec(table: Table, schema: Schema) -> PartitionSpec:
    """The declared partition fields; names are those that Spark would give."""
    fields = []
    for i, declared in enumerate(table.partition):
        if bucket := bucket_of(declared):
            count, column = bucket
            source = schema.find_field(column).field_id
            fields.append(PartitionField(source, 1000 + i, BucketTransform(count), f"{column}_bucket"))
        else:
            source = schema.find_field(declared).field_id
            fields.append(PartitionField(source, 1000 + i, IdentityTransform(), declared))
    return PartitionSpec(*fields)


def sort_order(table: Table, schema: Schema) -> SortOrder:
    """The declared sort columns, ascending."""
    return SortOrder(
        *(SortField(schema.find_field(column).field_id, transform=IdentityTransform()) for column in table.sort)
    )


def table_properties(table: Table) -> dict[str, str]:
    """Commit, metadata and layout properties of a table."""
    # Statistics are cut to 16 characters by default. Experiments often share their first 16, and then one
    # experiment's commit would look like a conflict with another's; and PyIceberg would rewrite what it can drop.
    owned = {"experiment_id", "stream"} & table.columns.keys()
    exact = {c for c in table.grain if c != "user_id"} if table.engine == "pyiceberg" else owned
    return (
        PROPERTIES
        | {f"write.metadata.metrics.column.{column}": "full" for column in sorted(exact)}
        | {"comment": table.doc}
    )


def _load_or_create(project: Project, catalog: Catalog, table: Table) -> IcebergTable:
    try:
        handle = _table_of(catalog, table.name) or _created(project, catalog, table)
    except FileNotFoundError as error:
        if not project.profile.catalog.names_its_warehouse:
            require_bucket(project, warehouse_of(project))
        raise ConfigError(
            f"table {table.name}: its metadata file is gone ({error}). {_way_out(project, error)}"
        ) from error
    if handle.current_snapshot() is None:
        # The fence of a writer is a snapshot; an empty one gives the first writers something to hold on to.
        commit_again(handle, lambda h: h.append(arrow_schema(table).empty_table()))
    return handle


def _way_out(project: Project, error: FileNotFoundError) -> str:
    """The advice for a metadata file that is gone: only a clone that was moved may be told to throw its lake away."""
    if warehouse_of(project).removeprefix("file://") not in str(error):
        return "Iceberg stores absolute paths: a clone that was moved needs `make reset`"
    return (
        "Put the file back from a copy of the warehouse, or let `exp doctor --recover` register the newest file that "
        "is left, without the commits since. Nothing was changed"
    )


def _table_of(catalog: Catalog, name: str) -> IcebergTable | None:
    try:
        return catalog.load_table(name)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def _created(project: Project, catalog: Catalog, table: Table) -> IcebergTable:
    """A new table, unless the warehouse holds one of that name which the catalog does not know: it would be lost."""
    location = location_of(project, table.name)
    for wait in (0.2, 0.4, 0.8, 1.6):  # another process that creates the table now writes its file first
        if location is None or not metadata_files(project, location):
            break
        time.sleep(wait)
        if handle := _table_of(catalog, table.name):
            return handle
    else:
        raise ConfigError(
            f"the warehouse holds {table.name} ({location}), but the catalog does not know it: the catalog was lost or "
            "is another one. Put its backup back, or let `exp doctor --recover` register the tables that are there; to "
            "begin with an empty lake, move the warehouse away. Nothing was changed"
        )
    if location is not None and project.profile.catalog.type != "rest":
        require_bucket(project, location)  # some stores make a bucket of any name that is written to
    _create_namespace(catalog, table.name.split(".")[0])
    schema = iceberg_schema(table)
    try:
        return catalog.create_table(
            table.name,
            schema,
            location=location,
            partition_spec=partition_spec(table, schema),
            sort_order=sort_order(table, schema),
            properties=table_properties(table),
        )
    except TableAlreadyExistsError:
        return catalog.load_table(table.name)


def _create_namespace(catalog: Catalog, namespace: str) -> None:
    try:
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace(namespace)
    except NamespaceAlreadyExistsError:
        return


def _refuse_other_place(project: Project, handle: IcebergTable) -> None:
    location, warehouse = handle.location(), warehouse_of(project)
    if not project.profile.catalog.names_its_warehouse and not location.startswith(warehouse + "/"):
        raise ConfigError(
            f"table {'.'.join(handle.name())} is stored at {location}, outside of this clone's warehouse {warehouse}. "
            "Iceberg stores absolute paths: a clone that was moved or copied needs `make reset`"
        )


def _evolve(handle: IcebergTable, table: Table) -> IcebergTable:
    """Follow a declaration that has grown since the table was created.

    Columns are added (old rows read as null there), and partition fields (files that are there stay as they are). A
    column that the declaration lets be null is no longer required.
    Descriptions of columns follow the declaration, in one commit, and only where one differs.
    A column that is not declared stays: it may belong to a newer version than this one.
    """
    grown = not set(table.columns) <= {field.name for field in handle.schema().fields}
    if grown or _other_descriptions(handle, table) or _no_longer_required(handle, table):
        commit_again(handle, lambda current: _follow_columns(current, table))
    if len(table.partition) > len(handle.spec().fields):
        commit_again(handle, lambda current: _add_partition_fields(current, table))
    return handle


def _follow_columns(handle: IcebergTable, table: Table) -> None:
    present = {field.name for field in handle.schema().fields}
    changed = _other_descriptions(handle, table)
    with handle.update_schema() as update:
        for column, kind in table.types.items():
            if column not in present:
                update.add_column(column, iceberg_type(kind), doc=table.descriptions.get(column), required=False)
        for column, description in changed.items():
            update.update_column(column, doc=description)
        for column in _no_longer_required(handle, table):
            update.update_column(column, required=False)


def _other_descriptions(handle: IcebergTable, table: Table) -> dict[str, str]:
    """The declared descriptions of the table's columns that it does not have, or has in other words."""
    there = {field.name: field.doc for field in handle.schema().fields}
    return {c: words for c, words in table.descriptions.items() if c in there and there[c] != words}


def _no_longer_required(handle: IcebergTable, table: Table) -> list[str]:
    """Columns of the table that are required there and may be null by its declaration."""
    required = {field.name for field in handle.schema().fields if field.required}
    return [column for column in table.columns if column in required and column not in table.required]


def _add_partition_fields(handle: IcebergTable, table: Table) -> None:
    present = {field.name for field in handle.spec().fields}
    with handle.update_spec() as update:
        for field in partition_spec(table, handle.schema()).fields:
            if field.name not in present:
                update.add_field(handle.schema().find_column_name(field.source_id), field.transform, field.name)


def _again(action: Callable[[], T], attempts: int = 6) -> T:
    """Two processes may set up the same new catalog at once: whoever comes second tries again."""
    for attempt in range(attempts):
        try:
            return action()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if attempt + 1 == attempts or is_refused_login(error):
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def _open_as_wal(path: Path) -> None:
    """Readers do not block the writer in WAL mode; the mode stays with the file. A file that is damaged is refused."""
    import sqlite3

    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        raise  # busy, or no right to write: not the file's content
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"the catalog {path} cannot be read ({error}): put its backup {backup_of(path).name} back in its place, or "
            "move it away and let `exp doctor --recover` register the tables that the warehouse holds"
        ) from None
    finally:
        connection.close()


def backup_of(path: Path) -> Path:
    """The file to which maintenance copies an embedded catalog."""
    return path.with_name(path.name + ".backup")
