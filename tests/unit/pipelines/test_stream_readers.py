"""A reader of streams learns of absent sources, repeated rows and used events what a reader of a copy learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
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
from exp_platform.ingest.repeats import PROPERTY, Repeats, encode
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import replace_rows
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import INGESTED_FILES
from exp_platform.lake.types import arrow_schema
from exp_platform.memo.data import data_section
from exp_platform.operations.unseen import unseen_in_lake
from exp_platform.pipelines.context import StageContext
from exp_platform.pipelines.outcome_names import absent_of, repeated_of
from exp_platform.pipelines.stages.write_memo import events_used, files_read

CALLS, SPEED = hm.metric("calls", "sum"), hm.metric("speed")
PLAN = hm.plan([SPEED, CALLS])
DELIVERS = {"phone": ("calls", "texts"), "web": ("speed", "unread")}
Event = tuple[str, int]  # metric_name, and days since the start


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An experiment that reads `calls` from one stream and `speed` from another; both are empty."""
    # PyIceberg computes no bucket by itself; one bucket serves as well here.
    monkeypatch.setattr(BucketTransform, "pyarrow_transform", lambda *_: lambda column: pa.array([0] * len(column)))
    cloned = clone(tmp_path, [SPEED, CALLS], PLAN)
    (tmp_path / "configs" / "streams").mkdir()
    for name, delivers in DELIVERS.items():
        source = {"format": "parquet", "location": f"data/{name}"}
        content = {"name": name, "kind": "outcomes", "owner": "data", "source": source, "delivers": list(delivers)}
        (tmp_path / "configs" / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    reading = configured(cloned, PLAN.experiment.model_copy(update={"streams": {"outcomes": ("phone", "web")}}))
    assert not reading.refusals()
    empty_lake(reading)
    return reading


def put(
    project: Project, stream: str, events: Sequence[Event], repeats: Mapping[str, tuple[int, int]] | None = None
) -> None:
    """Add events to a stream as its ingest does."""
    rows = [
        {"stream": stream, "user_id": "u1", "metric_name": name, "value": 1.0, "outcome_ts": _at(days)}
        | {"event_id": None, "source_file": "a", "ingested_at": _at(days)}
        for name, days in events
    ]
    counted = {name: Repeats(*pair) for name, pair in (repeats or {}).items()}
    properties = {"experiment_id": f"stream.{stream}"} | ({PROPERTY: encode(counted)} if counted else {})
    table = pa.Table.from_pylist(rows, schema=arrow_schema(TABLES["exp.stream_outcomes"]))
    load_handle(project, "exp.stream_outcomes").append(table, snapshot_properties=properties)


def _at(days: int) -> datetime:
    return hm.START + timedelta(days=days)


@contextmanager
def stage(project: Project) -> Iterator[StageContext]:
    with opened(project, "exp_test", PLAN.dt, "r1", "validate_statistics") as ctx:
        yield ctx


def absent(project: Project) -> dict[str, str]:
    """Metric -> the sentence on its absent source, where no user has a value of either metric."""
    silent = hm.draw_units(1, 20)
    silent.y, silent.pre = silent.y * 0, silent.pre * 0
    with stage(project) as ctx:
        return {one.metric: one.sentence for one in absent_of(ctx, hm.statistics([(SPEED, silent), (CALLS, silent)]))}


def test_a_source_without_an_event_is_absent_and_the_streams_other_names_are_told(project: Project) -> None:
    put(project, "phone", [("call", 1), ("texts", 1)])
    put(project, "web", [("speed", 1)])
    assert absent(project) == {
        "calls": "no outcome event has metric_name 'calls'; found call, speed, texts; did you mean 'call'?"
    }


@pytest.mark.parametrize(
    ("stream", "days", "is_absent"),
    [
        ("phone", 1, False),
        ("phone", -400, False),  # before anything that a metric looks at, and still an event, as in a copy
        ("phone", 400, True),  # after the end of dt
        ("web", 1, True),  # a stream that does not deliver the name: nobody reads it there
    ],
)
def test_an_event_counts_where_the_stream_delivers_it_however_early(
    project: Project, stream: str, days: int, is_absent: bool
) -> None:
    put(project, "web", [("speed", 1)])
    put(project, stream, [("calls", days)])
    assert ("calls" in absent(project)) is is_absent


def test_repeated_rows_are_those_of_the_names_that_the_metrics_read_of_every_stream(project: Project) -> None:
    put(project, "phone", [("calls", 1)], {"calls": (1000, 20), "texts": (10, 5)})
    put(project, "web", [("speed", 1)], {"speed": (500, 1), "unread": (10, 9)})
    put(project, "elsewhere", [("calls", 1)], {"calls": (7, 7)})
    with stage(project) as ctx:
        assert repeated_of(ctx) == {"calls": (1000, 20), "speed": (500, 1)}


def test_repeated_rows_are_those_of_the_snapshot_that_the_run_has_pinned(project: Project) -> None:
    put(project, "phone", [("calls", 1)], {"calls": (1000, 20)})
    with stage(project) as ctx:
        put(project, "phone", [("calls", 2)], {"calls": (2000, 0)})
        assert repeated_of(ctx) == {"calls": (1000, 20)}


def test_used_events_are_those_of_the_read_names_before_the_end_of_dt(project: Project) -> None:
    put(project, "phone", [("calls", 1), ("calls", 2), ("texts", 1), ("calls", 400), ("calls", -400)])
    put(project, "web", [("speed", 1), ("unread", 1)])
    put(project, "elsewhere", [("calls", 1)])
    with stage(project) as ctx:
        ctx.read.pin("exp.outcomes")
        ctx.record.manifest.flush()
    with opened(project, "exp_test", PLAN.dt, "r1", "write_memo") as ctx:
        assert events_used(ctx, PLAN) == {"outcomes": 3}


def test_read_files_are_those_of_the_streams_and_not_of_a_copy_that_was_left(project: Project) -> None:
    read = (
        ("exp_test", "outcomes", "copy"),
        ("exp_test", "exposures", "own"),
        ("stream.phone", "outcomes", "phone"),
        ("stream.web", "outcomes", "web"),
        ("stream.elsewhere", "outcomes", "elsewhere"),
        ("exp_other", "exposures", "of another"),
    )
    for owner, dataset, path in read:
        key = {"experiment_id": owner, "dataset": dataset, "path": path}
        row = key | {"size": 1, "fingerprint": "f", "rows": 10, "refused": 2, "run_id": "r", "ingested_at": hm.START}
        replace_rows(project, INGESTED_FILES, key, [row])
    with opened(project, "exp_test", PLAN.dt, "r1", "write_memo") as ctx:
        files = files_read(ctx)
        streams = ctx.run.experiment.streams
    assert sorted(row["path"] for row in files) == ["own", "phone", "web"]
    refused = pa.table(
        {"dataset": pa.array([], pa.string()), "rule": pa.array([], pa.string()), "count": pa.array([], pa.int64())}
    )
    manifest = [{"table": "exp.stream_outcomes", "role": "read", "rows": 15, "snapshot_id": 7, "stage": "s", "at": 1}]
    outcomes = data_section(manifest, files, refused, [], {"outcomes": 9}, streams)["datasets"][2]
    assert outcomes == {
        "dataset": "outcomes",
        "files": 2,
        "rows": 20,
        "refused": 4,
        "repeated": 1,
        "events": 15,
        "used": 9,
        "streams": ["phone", "web"],
    }


def test_validate_names_what_a_stream_promises_and_the_lake_has_never_seen(project: Project) -> None:
    assert unseen_in_lake(project) == []  # nothing was ingested yet
    put(project, "phone", [("call", 1)])
    put(project, "web", [("speed", 1)])
    assert unseen_in_lake(project) == [
        "configs/experiments/exp_test.yaml: metrics: 'calls': no outcome event has metric_name 'calls'; "
        "found call, speed; did you mean 'call'?"
    ]
    put(project, "phone", [("calls", 1)])
    assert unseen_in_lake(project) == []
