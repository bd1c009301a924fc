"""Handles of the tables that a stage works on: each question to the catalog is a wait where it is far away."""

from __future__ import annotations

from collections.abc import Iterable

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.lake.catalog import ensure_tables, load_handle


class Handles(dict[str, IcebergTable]):
    """The named tables as they were when the stage started: the fences; any other as it is when first asked for."""

    def __init__(self, project: Project, catalog: Catalog, names: Iterable[str]) -> None:
        super().__init__(ensure_tables(project, catalog, tuple(dict.fromkeys(names))))
        self._of = (project, catalog)

    def __missing__(self, name: str) -> IcebergTable:
        project, catalog = self._of
        return self.setdefault(name, load_handle(project, name, catalog))
