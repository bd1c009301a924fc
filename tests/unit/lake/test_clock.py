"""A machine whose clock is behind a table's last commit commits nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from exp_platform.config.load import Project
from exp_platform.errors import ExpError
from exp_platform.lake import clock
from exp_platform.lake.catalog import commit_again, load_handle
from exp_platform.lake.engines import overwrite_arrow
from exp_platform.lake.ops import overwrite_rows
from exp_platform.lake.row_audit import Scope
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import DIM_EXPERIMENT_VARIANT, RUN_CLAIM
from exp_platform.lake.types import to_arrow

ID = "exp_checkout_button_001"


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock that is asked before a commit say another time."""

    def behind(seconds: float) -> None:
        class Moved(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) - timedelta(seconds=seconds)

        monkeypatch.setattr(clock, "datetime", Moved)

    return behind


def test_no_way_to_commit_is_open_to_a_clock_that_is_behind(
    project: Project, set_clock: Callable[[float], None]
) -> None:
    variants, claims = load_handle(project, DIM_EXPERIMENT_VARIANT), load_handle(project, RUN_CLAIM)
    frame, scope = to_arrow(TABLES[DIM_EXPERIMENT_VARIANT], []), Scope(ID, datetime.now(UTC).date())
    before = variants.metadata_location, claims.metadata_location

    def commits() -> list[Callable[[], object]]:
        return [
            lambda: overwrite_arrow(variants, frame, TABLES[DIM_EXPERIMENT_VARIANT], scope, "main", {}),
            lambda: overwrite_rows(claims, RUN_CLAIM, {"experiment_id": ID}, []),
            lambda: commit_again(variants, lambda handle: handle.append(handle.schema().as_arrow().empty_table())),
        ]

    set_clock(3600)
    for commit in commits():
        with pytest.raises(ExpError, match=r"has a wrong clock, allowed are 50 seconds\. Nothing was committed"):
            commit()
    variants.refresh(), claims.refresh()
    assert before == (variants.metadata_location, claims.metadata_location)

    set_clock(30)  # machines never agree to the second
    for commit in commits():
        commit()
