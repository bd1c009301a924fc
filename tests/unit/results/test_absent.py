"""A metric whose source has no event has no answer, from the sums to the memo."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from pyiceberg.transforms import BucketTransform
from tests import hand_made as hm
from tests.empty_lake import empty_lake
from tests.hand_lake import answers, clone, put, quality_rows
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.ledger.claim import claim
from exp_platform.memo.memo_files import memo_dir
from exp_platform.operations.unseen import unseen_in_lake
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.results.absent import absent_metrics, absent_sentence
from exp_platform.results.plan import AnalysisPlan

CALLS = hm.metric("calls", "sum", source="calls")
RATIO = hm.metric("value_of_a_session", "ratio")


def silent(seed: int = 1) -> hm.Units:
    """Units in both arms of whom none has an event."""
    units = hm.draw_units(seed, 300)
    return replace(units, y=units.y * 0, pre=units.pre * 0)


def event(name: str, time: object) -> pa.Table:
    row = {
        "experiment_id": "exp_test",
        "user_id": "u1",
        "metric_name": name,
        "value": 1.0,
        "outcome_ts": time,
        "event_id": None,
    }
    return pa.Table.from_pylist([row | {"source_file": "a", "ingested_at": time}])


def test_names_are_read_only_where_a_metric_shows_no_event() -> None:
    def never() -> set[str]:
        raise AssertionError("the names were read")

    busy = hm.statistics([(CALLS, hm.draw_units(1, 300))])
    assert absent_metrics(busy, [CALLS], never) == ()
    quiet = hm.statistics([(CALLS, silent())])
    assert absent_metrics(quiet, [CALLS.model_copy(update={"may_be_absent": True})], never) == ()
    assert absent_metrics(quiet, [CALLS], lambda: {"calls", "visits"}) == ()
    (absent,) = absent_metrics(quiet, [CALLS], lambda: {"call", "visits"})
    assert absent.metric == "calls"
    assert absent.sentence == "no outcome event has metric_name 'calls'; found call, visits; did you mean 'call'?"


def test_either_source_of_a_ratio_may_be_the_absent_one() -> None:
    units = hm.draw_units(3, 300, kind="ratio")
    for lacking, other, there in (("revenue", "sessions", "d"), ("sessions", "revenue", "y")):
        sums = hm.statistics([(RATIO, replace(units, **{"y" if there == "d" else "d": units.y * 0}))])
        (absent,) = absent_metrics(sums, [RATIO], lambda name=other: {name})
        assert absent.missing == (lacking,)


def test_a_long_list_of_names_is_cut_and_an_empty_one_is_said() -> None:
    assert "found n0, n1, n2, n3, n4, n5, n6, n7 and 2 more" in absent_sentence(["x"], [f"n{i}" for i in range(10)])
    assert "found none at all" in absent_sentence(["x"], [])


def run(project: Project, plan: AnalysisPlan, run_id: str) -> None:
    claim(project, "exp_test", run_id, plan.dt, started_by="test")
    for name in ("analyze_results", "validate_statistics", "check_guardrails", "write_memo"):
        with opened(project, "exp_test", plan.dt, run_id, BY_NAME[name]) as ctx:
            BY_NAME[name].run(ctx)


@pytest.mark.parametrize(
    ("named", "days", "allowed", "is_absent"),
    [
        ("visits", 0, False, True),
        ("calls", 0, False, False),
        ("calls", -400, False, False),  # long before the experiment, and still an event
        ("calls", 400, False, True),  # after the end of dt: the run does not see it
        ("visits", 0, True, False),
    ],
)
def test_an_absent_source_is_no_zero_in_results_checks_trust_and_memo(
    tmp_path, monkeypatch: pytest.MonkeyPatch, named: str, days: int, allowed: bool, is_absent: bool
) -> None:
    # PyIceberg computes no bucket by itself; one bucket serves as well here.
    monkeypatch.setattr(BucketTransform, "pyarrow_transform", lambda *_: lambda column: pa.array([0] * len(column)))
    metrics = [hm.metric("speed"), CALLS.model_copy(update={"may_be_absent": allowed})]
    plan = hm.plan(metrics)
    project = clone(tmp_path, metrics, plan)
    empty_lake(project)
    units = hm.draw_units(2, 300)
    put(project, hm.STATISTICS, hm.statistics([(metrics[0], units), (metrics[1], silent())]))
    put(project, "gold.fct_experiment_quality_metrics_daily", quality_rows(hm.assigned(units)))
    put(project, "exp.outcomes", event(named, hm.START + timedelta(days=days)))
    run(project, plan, "run_1")
    rows = [row for row in answers(project, "exp.analysis_results") if row["metric_name"] == "calls"]
    checks = answers(project, "gold.fct_experiment_statistical_validation")
    warned = [row for row in checks if row["check_name"] == "source_absent"]
    memo = json.loads((memo_dir(project) / "exp_test.json").read_text())
    assert rows
    if not is_absent:
        assert {row["reason"] for row in rows} != {"source_absent"} and not warned
        assert all(row["control_mean"] == 0 for row in rows if row["segment"] == "all")
        return
    assert {(row["status"], row["reason"], row["control_mean"], row["effect_abs"]) for row in rows} == {
        ("insufficient_data", "source_absent", None, None)
    }
    assert all(row["control_n"] for row in rows if row["segment"] == "all")
    (check,) = warned
    assert check["status"] == "warn" and check["metric_name"] == "calls"
    if days == 0:
        assert check["detail"].endswith(f"found {named}")
    assert memo["answer"]["trust"] == "caution" and "caution:source_absent:calls" in memo["answer"]["reasons"]
    assert {row["reason"] for row in answers(project, "exp.analysis_results") if row["metric_name"] == "speed"} != {
        "source_absent"
    }


def test_validate_names_what_the_lake_has_never_seen(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BucketTransform, "pyarrow_transform", lambda *_: lambda column: pa.array([0] * len(column)))
    metrics = [hm.metric("speed", source="visit"), CALLS.model_copy(update={"may_be_absent": True})]
    project = clone(tmp_path, metrics, hm.plan(metrics))
    assert unseen_in_lake(project) == []  # there is no lake
    empty_lake(project)
    assert unseen_in_lake(project) == []  # no events yet: nothing is known
    put(project, "exp.outcomes", event("visits", hm.START))
    assert unseen_in_lake(project) == [
        "configs/experiments/exp_test.yaml: metrics: 'speed': no outcome event has metric_name 'visit'; found visits; "
        "did you mean 'visits'?"
    ]
    put(project, "exp.outcomes", event("visit", hm.START))
    assert unseen_in_lake(project) == []
