"""Views for people to query; code reads the tables, because PyIceberg cannot read views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exp_platform.lake.catalog import CATALOG
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import FACT_ASSIGNMENT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VALID_ASSIGNMENTS = "silver.fact_assignment"


def ensure_valid_assignments(spark: SparkSession) -> str | None:
    """Create the view silver.fact_assignment, unless it exists: all experiments' valid canonical assignments.

    A catalog without views ends no run: the answer is then a notice, else None.
    """
    columns = ", ".join(TABLES[FACT_ASSIGNMENT].columns)
    try:
        spark.sql(
            f"CREATE VIEW IF NOT EXISTS {CATALOG}.{VALID_ASSIGNMENTS} AS "  # noqa: S608  declared names alone
            f"SELECT {columns} FROM {CATALOG}.{FACT_ASSIGNMENT} WHERE is_valid"
        )
    except Exception as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "AlreadyExists" in said:  # another process was faster
            return None
        return f"the view {VALID_ASSIGNMENTS} was not made, and only people miss it: {said}"
    return None
