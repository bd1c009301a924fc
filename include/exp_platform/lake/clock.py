"""The clock of a machine that commits: one that is behind a table's last commit would make the table unreadable.

Iceberg's Java library opens no table whose history goes back by more than a minute; PyIceberg writes such a history.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table as IcebergTable

from exp_platform.errors import ExpError

TOLERATED = timedelta(seconds=50)


def refuse_clock_behind(handle: IcebergTable) -> None:
    """Refuse to commit while this machine's clock is behind the table's last commit."""
    last = datetime.fromtimestamp(handle.metadata.last_updated_ms / 1000, UTC)
    now = datetime.now(UTC)
    if last - now > TOLERATED:
        raise ExpError(
            f"table {'.'.join(handle.name())}: its last commit was at {last:%Y-%m-%d %H:%M:%S} UTC, and the clock of "
            f"this machine says {now:%Y-%m-%d %H:%M:%S} UTC: one of the two machines has a wrong clock, allowed are "
            f"{TOLERATED.seconds} seconds. Nothing was committed; set the clock, or wait until it has passed that time"
        )
