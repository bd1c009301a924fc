"""A lost catalog: its backup, and registering the tables that the warehouse still holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pyiceberg.catalog import Catalog

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import backup_of, load_catalog
from exp_platform.lake.catalog_properties import location_of, warehouse_of
from exp_platform.lake.metadata_files import metadata_files, newest
from exp_platform.lake.tables import NAMESPACES, TABLES


def back_up(project: Project) -> Path | None:
    """Copy an embedded catalog beside itself, as of one moment; None where the catalog is a server."""
    settings = project.profile.catalog
    if settings.type != "sqlite":
        return None
    path = Path(project.resolve(settings.uri))
    backup = backup_of(path)
    unfinished = backup.with_name(backup.name + ".new")
    source, target = sqlite3.connect(path), sqlite3.connect(unfinished)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return unfinished.replace(backup)


def recover(project: Project) -> Iterator[str]:
    """Register every table that the warehouse holds and the catalog does not know; a sentence about each.

    A table whose current metadata file is gone from this warehouse is registered as of the newest file that is left.

    A table whose last commit two writers raced for has two newest files, and only the lost catalog knew which one
    counts: it is left for a person.
    """
    if project.profile.catalog.names_its_warehouse:
        raise ConfigError(
            f"catalog.warehouse: {warehouse_of(project)!r} is a name, and only its catalog knows where tables lie: ask "
            "who runs the catalog to put it back"
        )
    catalog = load_catalog(project)
    for namespace in NAMESPACES:
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace(namespace)
    for name in TABLES:
        found = newest(metadata_files(project, location_of(project, name) or ""))
        if not found or _is_whole(project, catalog, name):
            continue
        if len(found) > 1:
            yield f"{name}: not registered, because several files may be its present state: {', '.join(found)}"
            continue
        catalog.register_table(name, found[0])
        snapshot = catalog.load_table(name).current_snapshot()
        yield f"{name}: registered as of snapshot {snapshot.snapshot_id if snapshot else 'none'} ({found[0]})"


def _is_whole(project: Project, catalog: Catalog, name: str) -> bool:
    """True when the catalog knows the table and its file; an entry whose file is gone from the warehouse is dropped."""
    try:
        return bool(catalog.table_exists(name))
    except FileNotFoundError as error:
        if warehouse_of(project).removeprefix("file://") not in str(error):
            raise ConfigError(
                f"table {name}: its metadata file is gone ({error}). Iceberg stores absolute paths: a clone that was "
                "moved needs `make reset`"
            ) from None
        catalog.drop_table(name)  # the entry alone: no file is touched
        return False
