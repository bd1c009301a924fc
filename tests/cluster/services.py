"""Services of a cluster as processes: each is started by the script that its container runs, and ends with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyspark
from tests.conftest import SHORT_LIVED

from exp_platform.spark.executors import JVM_OPTIONS
from exp_platform.spark.java import find_java_home

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
SPARK_HOME = Path(pyspark.__file__).parent


@dataclass
class Services:
    """Processes in process groups of their own, ended in reverse order; each writes to a log of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Services:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(
        self, name: str, command: Sequence[str | Path], ports: Sequence[int] = (), environment: Mapping[str, str] = {}
    ) -> None:
        """Start a service and wait until each of its ports takes connections."""
        log = self._stack.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [str(word) for word in command],
            env=self.environment | dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=self.folder,
        )
        self._stack.callback(end, process)
        self.processes[name] = process
        until = time.monotonic() + 600
        while not all(map(answers, ports)):
            assert process.poll() is None, f"{name} ended:\n{self.log(name)[-3000:]}"
            assert time.monotonic() < until, f"{name} does not answer:\n{self.log(name)[-3000:]}"
            time.sleep(0.3)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill a service and everything that it has started, as when its machine is lost."""
        os.killpg(self.processes[name].pid, how)
        self.processes[name].wait(30)

    def log(self, name: str) -> str:
        """All that a service has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


def bare_environment() -> dict[str, str]:
    """The environment of a machine without this clone, but for the Java that is found here."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "JAVA_HOME": find_java_home(), "LANG": "C.UTF-8"}


def clone_environment() -> dict[str, str]:
    """The environment of a container: its Python, its Spark and its Java are found by themselves."""
    path = f"{Path(sys.executable).parent}:{SPARK_HOME / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    own = {"PATH": path, "SPARK_HOME": str(SPARK_HOME), "PYTHONUNBUFFERED": "1"}
    return bare_environment() | own | short_lived_services()


def short_lived_services() -> dict[str, str]:
    """JVMs of a test end before the optimising compiler would pay off: drivers, their launchers, master and workers."""
    return dict.fromkeys(("SPARK_SUBMIT_OPTS", "SPARK_LAUNCHER_OPTS", "SPARK_DAEMON_JAVA_OPTS"), SHORT_LIVED)


def short_lived_executors() -> dict[str, str]:
    """Spark's settings of executors that end before the optimising compiler would pay off."""
    return {"spark.executor.extraJavaOptions": f"{JVM_OPTIONS} {SHORT_LIVED}"}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a service's process group, and wait for it."""
    for sent, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sent)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def answers(port: int) -> bool:
    """True when something takes connections at a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
