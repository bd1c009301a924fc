"""An attempt that was killed or stood still loses no warning and replaces nothing that a later attempt has recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import make_project
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.errors import FencedConflict
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.row_audit import Finding
from exp_platform.ledger import manifest
from exp_platform.pipelines.record import StageRecord

ID, DT, AT = "exp_checkout_button_001", date(2026, 2, 1), datetime(2026, 2, 2, tzinfo=UTC)
VARIANTS = "silver.dim_experiment_variant"
WARNING = Finding("few rows", False, "warning", 1)
ROW = {"experiment_id": ID, "variant_id": "v0", "is_control": True, "expected_allocation": 1.0, "updated_at": AT}


@pytest.fixture
def lake(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def attempt(project: Project, hour: int) -> Any:
    """An attempt of the run's first stage, begun at an hour; its audit warns."""
    return opened(project, ID, DT, "run_1", "sync_registry", audit=lambda *_: [WARNING], now=AT.replace(hour=hour))


def test_rows_whose_audit_was_never_recorded_are_published_again_with_their_warnings(
    lake: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt), attempt(lake, 1) as ctx:
        killed.setattr(StageRecord, "flush", _die)
        ctx.publish(VARIANTS, [ROW])
    with attempt(lake, 2) as ctx:
        assert not ctx.publish(VARIANTS, [ROW]).repeated
    found = read_rows(load_handle(lake, "ops.contract_results"), {"run_id": "run_1", "success": False})
    assert [row["expectation"] for row in found] == ["few rows"]
    with attempt(lake, 3) as ctx:
        assert ctx.publish(VARIANTS, [ROW]).repeated


def test_an_attempt_that_stood_still_leaves_the_record_of_the_one_that_took_its_place(lake: Project) -> None:
    said: list[str] = []
    with pytest.raises(FencedConflict), attempt(lake, 1) as stood_still:
        with attempt(lake, 2) as retry:
            published = retry.publish(VARIANTS, [ROW])
        object.__setattr__(stood_still.record, "say", said.append)
        stood_still.publish(VARIANTS, [ROW])
    (row,) = manifest.run_rows(lake, ID, "run_1")
    assert (row["table"], row["status"], row["snapshot_id"]) == (VARIANTS, "ok", published.snapshot_id)
    assert said[-1].endswith("the attempt that began 2026-02-02 02:00:00 UTC has recorded the stage")


def _die(_: object) -> None:
    raise KeyboardInterrupt
