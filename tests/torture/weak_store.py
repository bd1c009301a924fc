"""Scenarios of an object store that answers with errors, slowly, not at all, or is cut off in the middle of an upload.

The store is a real one; between it and the stage is a relay that does the harm. The catalog stays a local file.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml
from tests.conftest import ROOT
from tests.ports import free_ports
from tests.torture.bench import Bench, NotPossible, Scenario
from tests.torture.points import ended, forked
from tests.torture.processes import ALL_OR_NOTHING

from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

KEY, SECRET = "torture", "torture-secret"
BUSY = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SECONDS = 0.2  # by which a slow store delays each piece of an answer


@dataclass
class Relay:
    """A port that passes bytes on to the store, or harms them, as its mode says."""

    store: int
    mode: str = "passes"
    harmed: int = 0  # connections that came to harm
    door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        """The port for the client."""
        return int(self.door.getsockname()[1])

    def open(self) -> None:
        """Take connections from now on, in the background."""
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            client, _ = self.door.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self.mode in ("is gone", "answers 500"):
                self.harmed += 1
                if self.mode == "answers 500":
                    client.recv(65536)
                    client.sendall(BUSY)
                return
            with socket.create_connection(("127.0.0.1", self.store)) as server:
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
                self._requests(client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while piece := client.recv(65536):
            if self.mode == "cuts uploads off" and piece.startswith(b"PUT "):
                self.harmed += 1
                server.sendall(piece[: len(piece) // 2])
                for end in (client, server):
                    end.shutdown(socket.SHUT_RDWR)
                return
            if self.mode in ("is gone", "answers 500"):  # also on a connection that was open before
                self.harmed += 1
                client.shutdown(socket.SHUT_RDWR)
                return
            server.sendall(piece)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(65536):
                if self.mode == "is slow":
                    self.harmed += 1
                    time.sleep(SECONDS)
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def store_and_relay(folder: Path) -> Iterator[Relay]:
    """A store without a bucket, and a relay before it."""
    script = ROOT / "scripts" / "object_store.sh"
    if shutil.which("weed", path=str(Path(sys.executable).parent)) is None:
        raise NotPossible("no object store is installed (make setup-test)")
    port = free_ports()
    (folder / "objects").mkdir(parents=True)
    environment = {"EXP_S3_ACCESS_KEY": KEY, "EXP_S3_SECRET_KEY": SECRET, "PATH": "/usr/bin:/bin"}
    with (folder / "store.log").open("w") as log:
        command = [str(script), str(folder / "objects"), str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_for(port, server)
            relay = Relay(port)
            relay.open()
            yield relay
        finally:
            server.terminate()
            server.wait(timeout=30)


def profile_on(folder: Path, port: int) -> None:
    """The configuration of a clone whose warehouse is a bucket."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    path = folder / "configs" / "dev.yaml"
    content = yaml.safe_load(path.read_text())
    content["catalog"]["warehouse"] = "s3://warehouse/torture"
    content["object_store"] = {"endpoint": f"http://127.0.0.1:{port}", "access_key": KEY, "secret_key": SECRET}
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def weak_stores(stage: Stage) -> Iterator[Scenario]:
    """The store comes to harm when a stage begins, and is sound when it is tried again."""
    for mode in ("answers 500", "is gone", "cuts uploads off", "is slow"):
        expected = "exit 0" if mode == "is slow" else "exit 1"
        yield Scenario(
            "object store",
            f"{stage.name}: the object store {mode}",
            f"from the stage's begin the store {mode}; then it is sound, and the stage is tried again",
            f"{expected}; the harm was felt; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_weak, stage, mode),
            last=stage,
        )


def _weak(stage: Stage, mode: str, bench: Bench) -> tuple[str, Run]:
    run, relay = bench.world.run(), bench.world.relay
    relay.mode, relay.harmed = mode, 0
    try:
        end = ended(forked(lambda: bench.world.stage(run, stage)))
    finally:
        relay.mode = "passes"
    felt = "the harm was felt" if relay.harmed else "nothing was harmed"
    seen = f"{end}; {felt}; {'; '.join(bench.half_published(stage)) or ALL_OR_NOTHING}"
    bench.world.stages(run, [stage])
    return seen, run


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise NotPossible("the object store ended before it answered")
        if _answers(port):
            return
        time.sleep(0.2)
    raise NotPossible("the object store did not answer")
