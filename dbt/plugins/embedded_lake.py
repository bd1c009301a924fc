"""A dbt-duckdb plugin: a view of each published table of the embedded lake, as the lake is when dbt starts.

The catalog `data/catalog.db` (SQLite) names the metadata file of each Iceberg table; DuckDB's extension `iceberg` reads
the table from there. All models and tests of one dbt command therefore read one state of the lake, whoever publishes
meanwhile. Nothing is written to the lake.
"""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

EXTENSIONS = ("avro", "iceberg")  # in this order: iceberg needs avro
NAMESPACES = ("exp", "silver", "gold", "ops")
_TABLES = """
    SELECT table_namespace, table_name, metadata_location FROM iceberg_tables
    WHERE iceberg_type = 'TABLE' AND catalog_name = 'iceberg' ORDER BY 1, 2
"""


class Plugin(BasePlugin):  # type: ignore[misc]
    """The plugin that profiles.yml names; its setting `catalog` is the path of the lake's catalog."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Keep the catalog's path."""
        self.catalog = Path(plugin_config["catalog"]).resolve()

    def configure_connection(self, conn: Any) -> None:
        """Load the extensions, then replace the views of all published tables."""
        conn.execute("SET autoinstall_known_extensions = false")
        for extension in EXTENSIONS:
            conn.execute(f"LOAD '{extension_file(extension)}'")
        tables = published_tables(self.catalog)
        for namespace in NAMESPACES:
            conn.execute(f"CREATE SCHEMA IF NOT EXISTS {namespace}")
        for name, metadata in tables.items():
            place = metadata.removeprefix("file://").removeprefix("file:").replace("'", "''")
            conn.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM iceberg_scan('{place}')")  # noqa: S608  names of tables; the place is escaped


def published_tables(catalog: Path) -> dict[str, str]:
    """Each published table and the metadata file of its present state; an error where there is no lake."""
    if not catalog.is_file():
        raise DbtRuntimeError(
            f"there is no lake: the catalog {catalog} does not exist. Run `make demo`, or set EXP_DBT_CATALOG to the "
            "path of another lake's catalog.db"
        )
    connection = sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(_TABLES).fetchall()
    finally:
        connection.close()
    return {f"{namespace}.{table}": place for namespace, table, place in rows if namespace in NAMESPACES}


def extension_file(name: str) -> Path:
    """The file of a DuckDB extension that is installed as a Python package; DuckDB checks its signature."""
    spec = find_spec(f"duckdb_extension_{name}")
    places = list(spec.submodule_search_locations or []) if spec else []
    found = [file for place in places for file in Path(place).rglob(f"{name}.duckdb_extension")]
    if not found:
        raise DbtRuntimeError(
            f"the package duckdb-extension-{name} is not installed: run `make dbt`, which installs it"
        )
    return found[0]
