"""Connections to a Postgres catalog: few for each process, since a server has a hundred of them by default."""

from __future__ import annotations

import os
from functools import cache

from pyiceberg.catalog import Catalog
from sqlalchemy import Engine, create_engine

MOST = 4  # of one process; the JVM beside it opens two more
WAIT_SECONDS = 60


def share_connections(catalog: Catalog, uri: str) -> None:
    """Let a SQL catalog take its connections from the pool of this process; PyIceberg gives each catalog up to 15."""
    from pyiceberg.catalog.sql import SqlCatalog

    assert isinstance(catalog, SqlCatalog)
    catalog.engine.dispose()
    catalog.engine = _pool(os.getpid(), uri)


@cache
def _pool(_: int, uri: str) -> Engine:
    """The pool of a process, by its id: a forked process must not use its parent's connections.

    A connection from before Postgres was restarted is replaced, not used.
    """
    return create_engine(uri, pool_pre_ping=True, pool_size=1, max_overflow=MOST - 1, pool_timeout=WAIT_SECONDS)
