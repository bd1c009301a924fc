"""Migrate Airflow's database and create what the DAGs need: the connection `spark_default` and the pools.

On a shared Airflow also the login `admin` and the bucket of tasks' logs, where its settings ask for them.
"""

from __future__ import annotations

import os
import sys

from airflow.configuration import conf
from airflow.models import Connection, Pool
from airflow.utils.db import initdb, merge_conn, upgradedb
from airflow.utils.session import create_session

from exp_platform.airflow.jobs import POOL, POOL_WITHOUT_SESSION
from exp_platform.config.load import Project, load_project
from exp_platform.lake.object_store import ensure_bucket

ADMIN = "admin"


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
    project = load_project()
    with create_session() as session:
        merge_conn(spark_connection(project.profile.spark.master), session=session)
        for name, slots, words in (
            (POOL, pool_slots, "Spark applications at a time"),
            (POOL_WITHOUT_SESSION, 2 * pool_slots, "Stages without a Spark session at a time"),
        ):
            if Pool.get_pool(name, session=session) is None:
                Pool.create_or_update_pool(name, slots, words, include_deferred=False, session=session)
    _bucket_of_logs(project)
    if conf.get("core", "auth_manager").endswith(".FabAuthManager"):
        _login(os.environ["AIRFLOW_ADMIN_PASSWORD"])


def _bucket_of_logs(project: Project) -> None:
    """Create the bucket of remote logs where it is missing."""
    place = conf.get("logging", "remote_base_log_folder", fallback="")
    if conf.getboolean("logging", "remote_logging") and place.startswith("s3://") and project.profile.object_store:
        ensure_bucket(project, place)


def _login(password: str) -> None:
    """Create the login `admin` in the database of logins; one that is there keeps the password that it has."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        logins = builder.sm
        if logins.find_user(ADMIN) is None:
            role = logins.find_role("Admin")
            if not logins.add_user(ADMIN, "Platform", "Administrator", "admin@localhost", role, password):
                raise SystemExit(f"the login {ADMIN} could not be created: see the lines above")


if __name__ == "__main__":
    prepare(int(sys.argv[1]))
