"""More than 1% of a source's rows dropped as repeats is a caution on the metrics that read it, named in the memo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.transforms import BucketTransform
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import answers, clone, put, quality_rows
from tests.stages import opened

from exp_platform.ingest.repeats import PROPERTY, Repeats, encode
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.types import arrow_schema
from exp_platform.ledger.claim import claim
from exp_platform.memo.memo_files import memo_dir
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.results.checks import CheckInputs
from exp_platform.results.repeated import repeated_checks

SPEED, RATIO = hm.metric("speed"), hm.metric("value_of_a_session", "ratio")
PLAN = hm.plan([SPEED, RATIO])


def warned(repeated: dict[str, tuple[int, int]]) -> dict[str, str]:
    """Metric -> what its warning says."""
    numbers: Any = None  # no sum is looked at
    rows = repeated_checks(CheckInputs(PLAN, hm.empty(hm.STATISTICS), (), numbers, (), {}, repeated=repeated))
    assert {row["status"] for row in rows} <= {"warn"}
    return {row["metric_name"]: row["detail"] for row in rows}


def test_exactly_one_percent_is_no_caution_and_one_row_more_is() -> None:
    assert warned({"speed": (1000, 10)}) == {}
    assert warned({"speed": (1000, 11)}) == {
        "speed": "11 of 1,000 rows of 'speed' repeat another in every column and were dropped; "
        "where they are events of their own, map event_id"
    }


def test_a_metric_is_warned_once_for_any_of_its_sources_and_not_for_those_of_others() -> None:
    found = warned({"revenue": (100, 50), "sessions": (100, 60), "elsewhere": (100, 100)})
    assert list(found) == ["value_of_a_session"]
    assert found["value_of_a_session"].startswith("50 of 100 rows of 'revenue'")


def test_the_memo_names_the_metric_whose_rows_were_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # PyIceberg computes no bucket by itself; one bucket serves as well here.
    monkeypatch.setattr(BucketTransform, "pyarrow_transform", lambda *_: lambda column: pa.array([0] * len(column)))
    plan = hm.plan([SPEED])
    project = clone(tmp_path, [SPEED], plan)
    empty_lake(project)
    units = hm.draw_units(2, 300)
    put(project, hm.STATISTICS, hm.statistics([(SPEED, units)]))
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(hm.assigned(units)))
    event = {"experiment_id": "exp_test", "user_id": "u1", "metric_name": "speed", "value": 1.0, "event_id": None}
    event |= {"outcome_ts": hm.START, "source_file": "a", "ingested_at": hm.START}
    rows = pa.Table.from_pylist([event], schema=arrow_schema(TABLES["exp.outcomes"]))
    properties = {"experiment_id": "exp_test", PROPERTY: encode({"speed": Repeats(1000, 210)})}
    load_handle(project, "exp.outcomes").append(rows, snapshot_properties=properties)
    claim(project, "exp_test", "run_1", plan.dt, started_by="test")
    for name in ("analyze_results", "validate_statistics", "check_guardrails", "write_memo"):
        with opened(project, "exp_test", plan.dt, "run_1", BY_NAME[name]) as ctx:
            BY_NAME[name].run(ctx)
    checks = answers(project, "gold.fct_experiment_statistical_validation")
    (check,) = [row for row in checks if row["check_name"] == "duplicate_events"]
    assert (check["metric_name"], check["status"], check["observed"]) == ("speed", "warn", 0.21)
    answer = json.loads((memo_dir(project) / "exp_test.json").read_text())["answer"]
    assert answer["trust"] == "caution" and "caution:duplicate_events:speed" in answer["reasons"]
    page = (memo_dir(project) / "exp_test.md").read_text().replace("\\", "")
    assert "210 of 1,000 rows of 'speed' repeat another in every column" in page
