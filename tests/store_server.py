"""An S3 server with an Iceberg REST catalog of its own, for tests that want real ones; skipped where none is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.certificates import write_certificates
from tests.cluster.services import ROOT, answers, end
from tests.ports import free_ports

KEY, SECRET = "a-key", "a-secret"
KMS = '"kms": {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": true}}}'
IDENTITY = (
    f'"identities": [{{"name": "one", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}], '
    '"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]'
)


@dataclass(frozen=True)
class Server:
    """A server on loopback: S3 with and without TLS, keys of KMS, and a REST catalog with one warehouse, `lake`."""

    port: int
    folder: Path

    @property
    def ca_file(self) -> str:
        """The certificate authority of the port with TLS."""
        return str(self.folder / "ca.pem")

    def store(self, **other: Any) -> dict[str, Any]:
        """The profile's block `object_store`; None as a value leaves a key out."""
        block = {"endpoint": f"http://127.0.0.1:{self.port}", "access_key": KEY, "secret_key": SECRET} | other
        return {key: value for key, value in block.items() if value is not None}

    def with_tls(self, **other: Any) -> dict[str, Any]:
        """The block of the port with TLS."""
        return self.store(endpoint=f"https://127.0.0.1:{self.port + 8}", ca_file=self.ca_file, **other)

    def rest(self, **other: Any) -> dict[str, Any]:
        """The profile's block `catalog` for the REST catalog, whose warehouse is a bucket."""
        uri = f"http://127.0.0.1:{self.port + 4}"
        return {"type": "rest", "uri": uri, "warehouse": "s3://lake", "user": KEY, "password": SECRET} | other


@contextmanager
def store_server(folder: Path) -> Iterator[Server]:
    """Start the server in a folder; its buckets are empty, and there are none but `lake`."""
    if not (Path(sys.executable).parent / "weed").exists() and shutil.which("weed") is None:
        pytest.fail("no object store is installed: run make setup-test")
    write_certificates(folder)
    (folder / "objects").mkdir()
    (folder / "s3.json").write_text(f"{{{IDENTITY}, {KMS}}}")
    port = free_ports()
    command = [str(ROOT / "scripts" / "object_store.sh"), str(folder / "objects"), str(port)]
    command += [f"-s3.port.https={port + 8}", f"-s3.cert.file={folder}/own.pem", f"-s3.key.file={folder}/own.key"]
    command += [f"-s3.config={folder}/s3.json", "-tableBucket=lake"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "EXP_S3_ACCESS_KEY": KEY, "EXP_S3_SECRET_KEY": SECRET}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(process, port, folder / "server.log")
            yield Server(port, folder)
        finally:
            end(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until every port answers, and the catalog has its warehouse."""
    until = time.monotonic() + 120
    while not all(answers(one) for one in (port, port + 4, port + 8)) or "ready" not in log.read_text(errors="replace"):
        assert process.poll() is None, f"the store ended:\n{log.read_text(errors='replace')[-2000:]}"
        assert time.monotonic() < until, "the store does not answer"
        time.sleep(0.2)
    while not _has_a_warehouse(port + 4):
        assert time.monotonic() < until, "the catalog has no warehouse"
        time.sleep(0.2)


def _has_a_warehouse(port: int) -> bool:
    """True when the catalog lists its namespaces; the warehouse is made some time after the ports answer."""
    uri = f"http://127.0.0.1:{port}/v1"
    form = {"grant_type": "client_credentials", "client_id": KEY, "client_secret": SECRET}
    try:
        token = requests.post(f"{uri}/oauth/tokens", data=form, timeout=10).json().get("access_token")
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{uri}/lake/namespaces", headers=headers, timeout=10).status_code == 200
    except requests.RequestException:
        return False
