"""Migrate Airflow's database and create what the DAGs need: the connection `spark_default` and the pools."""

from __future__ import annotations

import sys

from airflow.models import Connection, Pool
from airflow.utils.db import initdb, merge_conn, upgradedb
from airflow.utils.session import create_session

from exp_platform.airflow.jobs import POOL, POOL_WITHOUT_SESSION
from exp_platform.config.load import load_project


def spark_connection(master: str) -> Connection:
    """The connection with the master as host; a URI would not do, as Airflow misreads `local[2]` and uses `yarn`."""
    return Connection(conn_id="spark_default", conn_type="spark", host=master, description="Where the stages run")


def prepare(pool_slots: int) -> None:
    """Migrate the database and create connection and pools; an existing connection or pool stays as it is."""
    from airflow.settings import engine
    from sqlalchemy import inspect

    if engine is not None and inspect(engine).has_table("alembic_version"):
        upgradedb()
    else:
        initdb()
    with create_session() as session:
        merge_conn(spark_connection(load_project().profile.spark.master), session=session)
        for name, slots, words in (
            (POOL, pool_slots, "Spark applications at a time"),
            (POOL_WITHOUT_SESSION, 2 * pool_slots, "Stages without a Spark session at a time"),
        ):
            if Pool.get_pool(name, session=session) is None:
                Pool.create_or_update_pool(name, slots, words, include_deferred=False, session=session)


if __name__ == "__main__":
    prepare(int(sys.argv[1]))
