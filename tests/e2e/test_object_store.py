"""The pipeline runs on an S3-compatible server by config alone: raw events on s3a://, Iceberg through S3FileIO."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import make_project

from exp_platform.config.load import load_project
from exp_platform.lake.buckets import ensure_buckets
from exp_platform.spark.jars import OBJECT_STORE, resolve_jars

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / ".setup" / "bin" / "minio"
EXPERIMENT_ID = "exp_checkout_button_001"

pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.skipif(
        not SERVER.exists(), reason="no S3-compatible server in the clone: run `scripts/object_store.sh install`"
    ),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on loopback with empty buckets; yields the folder that holds its objects."""
    port, folder = free_port(), tmp_path / "objects"
    folder.mkdir()
    monkeypatch.setenv("EXP_S3_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("EXP_S3_ACCESS_KEY", "test-access-key")
    monkeypatch.setenv("EXP_S3_SECRET_KEY", "test-secret-key")
    script = str(ROOT / "scripts" / "object_store.sh")
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([script, "run", str(folder), str(port)], stdout=log, stderr=log)
        try:
            wait_for(port, server)
            yield folder
        finally:
            server.terminate()
            server.wait(timeout=20)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        assert server.poll() is None, "the object store ended before it answered"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the object store did not answer")


def test_the_pipeline_runs_on_an_object_store_by_config_alone(store: Path, tmp_path: Path) -> None:
    resolve_jars(OBJECT_STORE)
    root = make_project(tmp_path / "clone").root
    config = root / "configs" / "object-store.yaml"
    project = load_project(config)
    assert ensure_buckets(project) == ["raw", "warehouse"]

    command = [sys.executable, "-m", "exp_platform.pipelines.run_end_to_end", f"--config={config}"]
    command += [f"--experiment-id={EXPERIMENT_ID}", "--generate-synth"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ.copy(), check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert (root / "data" / "memos" / f"{EXPERIMENT_ID}.md").exists()
    assert list((store / "raw" / "exp_platform" / EXPERIMENT_ID / "outcomes").iterdir())
    assert list((store / "warehouse" / "iceberg" / "gold" / "fct_experiment_unit_outcomes").rglob("*.parquet"))
    assert not (root / "data" / "warehouse").exists()
    assert not (root / "data" / "raw").exists()
