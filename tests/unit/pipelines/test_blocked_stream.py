"""A blocked stream stops each of its readers with one line in the memo, and is told once for all of them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from pyiceberg.expressions import AlwaysTrue

from exp_platform.config.load import Project, load_project
from exp_platform.errors import ContractViolation, StreamBlocked
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.ledger.manifest import StageManifest
from exp_platform.memo.memo_files import memo_dir
from exp_platform.pipelines import ingest_first
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end
from exp_platform.pipelines.stream_run import StreamRun

READERS, DT = ("exp_add_cart_002", "exp_checkout_button_001"), date(2026, 1, 14)
ERROR = "exposures: 3 of 10 rows have no user_id, allowed 0.1% (data/seen/a.parquet)"
LINE = f"stream seen is blocked since dt {DT}: {ERROR}"


@pytest.fixture
def reading(project: Project) -> Project:
    """Two experiments that read their exposures from one log."""
    source = {"format": "parquet", "location": "data/seen"}
    content = {"name": "seen", "kind": "exposures", "owner": "data", "source": source}
    folder = project.root / "configs"
    (folder / "streams").mkdir()
    (folder / "streams" / "seen.yaml").write_text(yaml.safe_dump(content))
    for one in READERS:
        path = folder / "experiments" / f"{one}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"streams": {"exposures": ["seen"]}}))
    return load_project(project.path)


def refused(run: StreamRun, *_: Any, **__: Any) -> None:
    """The ingest of a stream whose data are refused, without Spark."""
    now = datetime(2026, 1, 15, tzinfo=UTC)
    row = StageManifest(
        run.project, load_catalog(run.project), run.experiment_id, run.run_id, run.dt, "ingest_streams", "c", "v", now
    )
    row.add("*", "published", None, None, 1.0, "blocked", ERROR)
    row.flush()
    raise ContractViolation(f"stream.seen: raw data are refused. {ERROR}")


def test_each_memo_has_one_line_and_the_stream_has_the_only_alert(
    reading: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_first, "run_stage", refused)
    monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
    for one in READERS:
        with pytest.raises(StreamBlocked, match=f"^{one}: stream seen is blocked since"):
            run_end_to_end(Run(reading, one, DT, f"run_{one}"), log=lambda _: None)
    for one in READERS:
        memo = json.loads((memo_dir(reading) / f"{one}.json").read_text())
        assert memo["blocked"]["sentence"] == f"{one}: {LINE}. Earlier results stay readable"
        for suffix in ("md", "html"):
            text = (memo_dir(reading) / f"{one}.{suffix}").read_text().replace("\\", "")
            assert text.count("stream seen is blocked since") == 1, suffix
            assert LINE in text, suffix
    (alert,) = read_rows(load_handle(reading, "ops.alerts"), AlwaysTrue())
    assert (alert["experiment_id"], alert["kind"], alert["subject"]) == (
        "stream.seen",
        "contract_broken",
        "ingest_streams",
    )
    assert "3 of 10 rows have no user_id" in alert["payload"]
