"""The pipeline runs on an S3-compatible server by config alone: raw events on s3a://, Iceberg through S3FileIO.

The store's keys are canaries: no command line on the machine, no event log and no output may hold them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pyarrow.fs import FileSelector
from tests.cluster.watch import CommandLines, event_log, files_with
from tests.conftest import make_project
from tests.ports import free_ports

from exp_platform.config.load import Project, load_project
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.lake.raw_zone import filesystem
from exp_platform.spark.jars import OBJECT_STORE, resolve_jars

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT_ID = "exp_checkout_button_001"
KEYS = {"EXP_S3_ACCESS_KEY": f"canary-access-{os.getpid()}", "EXP_S3_SECRET_KEY": f"canary-secret-{os.getpid()}"}

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on loopback without a bucket."""
    port, folder = free_ports(), tmp_path / "objects"
    folder.mkdir()
    monkeypatch.setenv("EXP_S3_ENDPOINT", f"http://127.0.0.1:{port}")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    script = str(ROOT / "scripts" / "object_store.sh")
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([script, str(folder), str(port)], stdout=log, stderr=log)
        try:
            wait_for(port, server)
            yield
        finally:
            server.terminate()
            server.wait(timeout=20)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(150):
        assert server.poll() is None, "the object store ended before it answered"
        if answers(port):
            return
        time.sleep(0.2)
    raise AssertionError("the object store did not answer")


def few_users(config: Path) -> None:
    """Generate less than the profile says: the store is tested, not the numbers."""
    content = yaml.safe_load(config.read_text())
    content["experiments"][EXPERIMENT_ID] |= {"days": 5, "n_users": 600, "pre_period_days": 7}
    config.write_text(yaml.safe_dump(content, sort_keys=False))


def log_events(config: Path, folder: Path) -> None:
    """Let Spark write its event log, which holds every setting of the session."""
    folder.mkdir()
    content = yaml.safe_load(config.read_text())
    content["spark"]["conf"] = event_log(folder)
    config.write_text(yaml.safe_dump(content, sort_keys=False))


def paths_in(project: Project, bucket: str) -> list[str]:
    """Every object of a bucket, as bucket and key."""
    files, path = filesystem(project, f"s3://{bucket}")
    return [found.path for found in files.get_file_info(FileSelector(path, recursive=True))]


def test_the_pipeline_runs_on_an_object_store_by_config_alone(store: None, tmp_path: Path) -> None:
    resolve_jars(OBJECT_STORE)
    root = make_project(tmp_path / "clone").root
    config, events = root / "configs" / "object-store.yaml", tmp_path / "events"
    few_users(config)
    log_events(config, events)
    project = load_project(config)
    assert ensure_buckets(project) == ["raw", "warehouse"]

    command = [sys.executable, "-m", "exp_platform.pipelines.run_end_to_end", f"--config={config}"]
    command += [f"--experiment-id={EXPERIMENT_ID}", "--generate-synth"]
    with CommandLines(KEYS.values()) as lines:
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ.copy(), check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "SparkSubmit" in lines.seen
    assert not lines.found
    assert files_with(events, ["SparkListenerEnvironmentUpdate"])
    assert files_with(events, KEYS.values()) == []
    assert not any(key in done.stdout + done.stderr for key in KEYS.values())
    assert (root / "data" / "memos" / f"{EXPERIMENT_ID}.md").exists()
    objects = [found for bucket in ("raw", "warehouse") for found in paths_in(project, bucket)]
    assert any(path.startswith(f"raw/exp_platform/{EXPERIMENT_ID}/outcomes/") for path in objects)
    rows = "warehouse/iceberg/gold/fct_experiment_unit_outcomes/"
    assert any(path.startswith(rows) and path.endswith(".parquet") for path in objects)
    assert not (root / "data" / "warehouse").exists()
    assert not (root / "data" / "raw").exists()
