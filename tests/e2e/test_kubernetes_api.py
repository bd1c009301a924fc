"""The real spark-submit against a server that answers as Kubernetes does: what it asks for, what is made of it.

There is no cluster: no pod runs. The server keeps the driver's pod, and says at once that it has failed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from exp_platform.airflow.submit_by_spark import OnKubernetes
from exp_platform.airflow.submitters import Job
from exp_platform.config.load import load_project

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.long]

ENDED = {"exitCode": 137, "reason": "OOMKilled"}


class Cluster(BaseHTTPRequestHandler):
    """The pods of one namespace; watches are answered over HTTP, as where no web socket can be had."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str]]
    pods: dict[str, Any]

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def answer(self, code: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def keep(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        self.asked.append((self.command, self.path.partition("?")[0]))
        if self.command == "POST" and self.path.partition("?")[0].endswith("/pods"):
            body["metadata"] |= {"uid": "u1", "resourceVersion": "1", "namespace": "experiments"}
            state = {"name": "driver", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
            status = {"phase": "Failed", "containerStatuses": [state | {"state": {"terminated": ENDED}}]}
            self.pods[body["metadata"]["name"]] = body | {"status": status}
        self.answer(201 if self.command == "POST" else 200, body)

    do_POST = do_PATCH = do_DELETE = keep  # noqa: N815

    def do_GET(self) -> None:
        pod = next(iter(self.pods.values()), None)
        if pod is None or "/pods" not in self.path:
            self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
        elif self.headers.get("Upgrade"):
            self.answer(503, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503})
        elif "watch=true" in self.path:
            line = (json.dumps({"type": "MODIFIED", "object": pod}) + "\n").encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(2)
            self.wfile.write(b"0\r\n\r\n")
        elif "?" in self.path:
            listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "2"}, "items": [pod]}
            self.answer(200, listed)
        else:
            self.answer(200, pod)


@pytest.fixture
def cluster() -> Iterator[tuple[type[Cluster], int]]:
    class Own(Cluster):
        asked: list[tuple[str, str]] = []  # noqa: RUF012
        pods: dict[str, Any] = {}  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Own, server.server_address[1]
    server.shutdown()


def test_spark_submit_asks_for_the_drivers_pod_reads_its_end_and_deletes_it(
    cluster: tuple[type[Cluster], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, port = cluster
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    host = f"k8s://http://127.0.0.1:{port}"
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": host}))
    (tmp_path / "configs").mkdir()
    profile = tmp_path / "configs" / "prod.yaml"
    pods = {"image": "registry/platform:1", "namespace": "experiments", "service_account": "driver"}
    pods["secrets"] = {"EXP_CATALOG_PASSWORD": "platform:catalog"}
    submit = {"by": "kubernetes", "outcomes": str(tmp_path / "words"), "poll_seconds": 0.1, "kubernetes": pods}
    submit["environment"] = {"EXP_CATALOG_HOST": "postgres.internal"}
    catalog = {"type": "sqlite", "uri": "c.db", "warehouse": "w", "password": "canary-of-the-catalog"}
    content = {"profile": "t", "raw_root": "raw", "catalog": catalog, "submit": submit, "spark": {"master": host}}
    profile.write_text(yaml.safe_dump(content))
    words = (f"--config={profile}", "--experiment-id=exp_a_001")
    job = Job(load_project(profile), "build_assignments", tmp_path / "x.py", words, "dag/run/task/-1/1")
    submitter = OnKubernetes(job)

    assert submitter.submit() == f"{job.key}-driver"
    ended = submitter.wait()
    assert ended.exit_code == 137 and "without a word of its own (spark-submit: exit code 137)" in ended.sentence
    submitter.cancel()

    pod = api.pods[f"{job.key}-driver"]
    [container] = pod["spec"]["containers"]
    assert container["image"] == "registry/platform:1"
    assert pod["spec"]["serviceAccountName"] == "driver"
    application = "local:///opt/platform/spark_jobs/build_assignments.py"
    assert container["args"][container["args"].index(application) :] == [
        application,
        "--config=/opt/platform/configs/prod.yaml",
        "--experiment-id=exp_a_001",
    ]
    environment = {one["name"]: one for one in container["env"]}
    key = environment["EXP_CATALOG_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert (key["name"], key["key"]) == ("platform", "catalog")
    assert environment["EXP_CATALOG_HOST"]["value"] == "postgres.internal"
    assert environment["EXP_LAST_WORD"]["value"] == job.word_place
    assert "JAVA_HOME" not in environment
    assert "canary" not in json.dumps(pod)
    assert ("DELETE", f"/api/v1/namespaces/experiments/pods/{job.key}-driver") in api.asked
