"""Executors that share no disk with the driver: another user, an empty folder, and no sight of the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.cluster.services import (
    ROOT,
    SCRIPTS,
    SPARK_HOME,
    Services,
    bare_environment,
    short_lived_executors,
)
from tests.cluster.watch import CommandLines, event_log, files_with, work_in
from tests.conftest import make_project
from tests.ports import free_ports

from exp_platform.config.load import load_project
from exp_platform.lake.object_store import ensure_buckets
from exp_platform.spark.jars import OBJECT_STORE, resolve_jars
from exp_platform.spark.package import PACKAGE, current_package

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)]
EXPERIMENT_ID = "exp_checkout_button_001"
KEYS = {"EXP_S3_ACCESS_KEY": "canary-access-key-id-7301", "EXP_S3_SECRET_KEY": "canary-secret-key-7302"}
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start a worker as another user")


@needs_root
def test_executors_need_nothing_of_the_clone_and_see_no_secret_in_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_jars(OBJECT_STORE)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    port, spark_port = free_ports(), free_ports()
    monkeypatch.setenv("EXP_S3_ENDPOINT", f"http://127.0.0.1:{port}")
    root = make_project(tmp_path / "clone").root
    archive = current_package(ROOT / PACKAGE)
    events = tmp_path / "events"
    events.mkdir()
    config = cluster_profile(root, f"spark://127.0.0.1:{spark_port}", archive, events)
    worker = Path(f"/tmp/worker-{tmp_path.parent.name}-{os.getpid()}")

    with Services(tmp_path / "services", bare_environment()) as services, CommandLines(KEYS.values()) as lines:
        (tmp_path / "objects").mkdir()
        services.start("object-store", [SCRIPTS / "object_store.sh", tmp_path / "objects", str(port)], [port], KEYS)
        spark = far_spark(worker)
        try:
            there = {"SPARK_HOME": str(spark), "SPARK_LOCAL_IP": "127.0.0.1"}
            master = ["bash", worker / "spark.sh", "master", "127.0.0.1", str(spark_port)]
            services.start("master", far(master), [spark_port], there | {"SPARK_MASTER_WEBUI_PORT": "0"})
            work = ["bash", worker / "spark.sh", "worker", f"spark://127.0.0.1:{spark_port}", worker / "work"]
            sizes = {"SPARK_WORKER_CORES": "2", "SPARK_WORKER_MEMORY": "2g", "SPARK_WORKER_WEBUI_PORT": "0"}
            services.start("worker", far(work), (), there | sizes)
            ensure_buckets(load_project(config))
            began = time.monotonic()
            done = run(config)
            seconds = time.monotonic() - began
            executors = [path.read_text(errors="replace") for path in (worker / "work").rglob("stderr")]
        finally:
            shutil.rmtree(worker, ignore_errors=True)

    assert done.returncode == 0, done.stderr[-4000:] + "".join(executors)[-4000:]
    assert lines.seen == {"SparkSubmit", "CoarseGrainedExecutorBackend"}
    assert not lines.found
    assert files_with(events, KEYS.values()) == []
    # The store's own server names the id of the key that it was started with in its log, never the secret.
    assert files_with(tmp_path / "services", KEYS.values()) == [str(tmp_path / "services" / "object-store.log")]
    assert KEYS["EXP_S3_SECRET_KEY"] not in services.log("object-store")
    assert not any(value in done.stdout + done.stderr + "".join(executors) for value in KEYS.values())
    (work,) = work_in(events).values()
    print(f"\na run on executors without the clone: {seconds:.0f} s; {work}")
    assert "driver" not in work.tasks and sum(work.tasks.values()) > 20
    assert local_paths_of_executors(work.settings) == {}


def cluster_profile(root: Path, master: str, archive: Path, events: Path) -> Path:
    path = root / "configs" / "object-store.yaml"
    content = yaml.safe_load(path.read_text())
    content["spark"] |= {
        "master": master,
        "driver_memory": "1g",
        "executor_memory": "1g",
        "executor_package": str(archive),
        "conf": event_log(events) | short_lived_executors() | {"spark.driver.host": "127.0.0.1"},
    }
    content["experiments"][EXPERIMENT_ID] |= {"n_users": 200, "days": 3, "pre_period_days": 3}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def far_spark(worker: Path) -> Path:
    """A Spark that another user can read, outside of the clone: links to the same files."""
    worker.mkdir(mode=0o777)
    worker.chmod(0o777)
    shutil.copytree(SPARK_HOME, worker / "spark", copy_function=os.link)
    shutil.copy(SCRIPTS / "spark.sh", worker / "spark.sh")
    return worker / "spark"


def far(command: list[str | Path]) -> list[str | Path]:
    """The command as user nobody, in a view of the file system where the clone is an empty folder."""
    hidden = f'mount -t tmpfs none "{ROOT}" && cd / && exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"'
    return ["unshare", "--mount", "bash", "-c", hidden, "far", *command]


def run(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exp_platform.pipelines.run_end_to_end", f"--config={config}"]
    command += [f"--experiment-id={EXPERIMENT_ID}", "--generate-synth"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=3000)


def local_paths_of_executors(settings: dict[str, str]) -> dict[str, str]:
    """Settings of executors that name a place of the driver's machine."""
    places = (str(ROOT), sys.prefix, str(SPARK_HOME))
    of_executors = {key: value for key, value in settings.items() if key.startswith("spark.executor")}
    assert of_executors, "the event log holds no setting of executors"
    return {key: value for key, value in of_executors.items() if any(place in value for place in places)}
