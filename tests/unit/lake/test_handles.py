"""A stage's handles: a table keeps the state in which it was first seen, which is the fence of a commit."""

from __future__ import annotations

from tests.empty_lake import empty_lake

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog
from exp_platform.lake.handles import Handles
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.tables.names import DECISION, RUN_MANIFEST


def test_a_table_that_was_not_named_is_loaded_once_and_stays_as_it_was(project: Project) -> None:
    empty_lake(project)
    handles = Handles(project, load_catalog(project), [DECISION])
    assert set(handles) == {DECISION}
    first = handles[RUN_MANIFEST]
    replace_rows(project, RUN_MANIFEST, {"experiment_id": "exp_one", "run_id": "r"}, [])
    assert handles[RUN_MANIFEST] is first
