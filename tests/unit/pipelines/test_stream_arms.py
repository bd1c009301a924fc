"""Gate 1 over a log of many experiments: unknown arms, no event of the experiment, a stream that is late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pyiceberg.transforms import BucketTransform
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import clone, configured
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.errors import ContractViolation
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import CONTRACT_RESULTS
from exp_platform.lake.types import arrow_schema
from exp_platform.ledger.manifest import StageManifest
from exp_platform.pipelines.stream_gate import pass_streams

PLAN = hm.plan([hm.metric("speed")])


@pytest.fixture
def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An experiment that reads its assignments from one log, ingested for the day before its own."""
    monkeypatch.setattr(BucketTransform, "pyarrow_transform", lambda *_: lambda column: pa.array([0] * len(column)))
    cloned = clone(tmp_path, [hm.metric("speed")], PLAN)
    (tmp_path / "configs" / "streams").mkdir()
    source = {"format": "parquet", "location": "data/decisions"}
    content = {"name": "decisions", "kind": "assignments", "owner": "data", "source": source}
    (tmp_path / "configs" / "streams" / "decisions.yaml").write_text(yaml.safe_dump(content))
    project = configured(cloned, PLAN.experiment.model_copy(update={"streams": {"assignments": ("decisions",)}}))
    empty_lake(project)
    day, now = PLAN.dt - timedelta(days=1), datetime(2026, 3, 1, tzinfo=UTC)
    row = StageManifest(project, load_catalog(project), "stream.decisions", "s1", day, "ingest_streams", "c", "v", now)
    row.add("exp.stream_assignments", "published", 1, 10, 1.0)
    row.flush()
    return project


def pass_gate(project: Project, arms: dict[str, int], experiment_id: str = "exp_test") -> dict[str, str]:
    """Let the log hold so many events of each arm, and pass the gate: findings of the run, with their details."""
    schema = arrow_schema(TABLES["exp.stream_assignments"])
    rows = [
        {"stream": "decisions", "experiment_id": experiment_id, "user_id": f"{arm}{i}", "variant": arm, "unit": "user"}
        | {"assignment_ts": hm.START, "source_file": "a", "ingested_at": hm.START}
        for arm, count in arms.items()
        for i in range(count)
    ]
    handle = load_handle(project, "exp.stream_assignments")
    handle.append(pa.Table.from_pylist(rows, schema), snapshot_properties={"experiment_id": "stream.decisions"})
    with opened(project, "exp_test", PLAN.dt, "r1", "ingest_events") as ctx:
        pass_streams(ctx)
    found = read_rows(load_handle(project, CONTRACT_RESULTS), {"run_id": "r1"})
    return {row["expectation"]: row["detail"] for row in found if not row["success"]}


def test_an_arm_that_the_experiment_does_not_have_is_left_out_and_counted(reading: Project) -> None:
    found = pass_gate(reading, {"control": 1500, "treatment": 1500, "blue": 2, "red": 1})
    assert found["no unknown_variant"] == "blue 2, red 1"
    assert found["stream decisions is as far as this run"] == (
        f"stream decisions was last ingested for dt {PLAN.dt - timedelta(days=1)}"
    )


def test_too_many_of_them_stop_the_experiment_and_name_the_arms(reading: Project) -> None:
    with pytest.raises(ContractViolation, match=r"4 of 1,004 events .* name an arm that it does not have.*: blue 4"):
        pass_gate(reading, {"control": 1000, "blue": 4})


def test_a_log_without_an_event_of_the_experiment_stops_it(reading: Project) -> None:
    with pytest.raises(ContractViolation, match="no event of this experiment; look at the stream's mapping"):
        pass_gate(reading, {"control": 5}, "exp_other")
