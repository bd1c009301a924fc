"""Every table of the lake: columns and their meaning, grain, layout and writing engine. All else follows from here.

`names` has the names as constants; the declarations are in `events`, `streams`, `silver`, `gold`, `excluded`, `latest`,
`answers` and `ops`.
`docs/tables.md` is written from them by `python -m exp_platform.lake.tables.tables_page`.
"""

from __future__ import annotations

from exp_platform.lake.tables import answers, events, excluded, gold, latest, ops, silver, streams
from exp_platform.lake.tables.declare import BY_DT, RUN_COLUMNS, UNITS, Engine, Table, bucket_of, dates_of
from exp_platform.lake.tables.gold import QUALITY_FLAGS

TABLES: dict[str, Table] = {
    table.name: table
    for part in (events, streams, silver, gold, excluded, latest, answers, ops)
    for table in part.TABLES
}
NAMESPACES = ("exp", "silver", "gold", "ops")

__all__ = [
    "BY_DT",
    "NAMESPACES",
    "QUALITY_FLAGS",
    "RUN_COLUMNS",
    "TABLES",
    "UNITS",
    "Engine",
    "Table",
    "bucket_of",
    "dates_of",
]
