"""Commands behind `make demo`, `make up` and `make down`: Airflow inside the clone, on localhost, without a network."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exp_platform.airflow.demo_logs import TaskLogs
from exp_platform.airflow.home import HOST, LOGIN, Home
from exp_platform.errors import ExpError
from exp_platform.paths import clone_root
from exp_platform.pipelines.registry import STAGES

# In the order of their start: a task that starts before the API server answers fails, and waits for its next attempt.
SERVICES = ("api-server", "dag-processor", "triggerer", "scheduler")
TASKS = len(STAGES) + 7  # around the stages: resolve_run, three gates, experiment_passed, alert, watcher
DEMO = {"experiment_id": "exp_checkout_button_001", "generate_synth": True}
_STARTING = re.compile(r"\[DAG TEST\] starting task_id=(\S+)")
_ENDING = re.compile(r"\[DAG TEST\] end task task_id=(\S+)")


def pool_slots() -> int:
    """Number of Spark applications at a time; each takes two cores."""
    return max(1, (os.cpu_count() or 2) // 2)


# --- make demo -----------------------------------------------------------------------------------------------------


def demo(home: Home, conf: dict[str, Any]) -> int:
    """Run the whole DAG in one process with the real operators, then print the decision and the memo's path."""
    began = time.monotonic()
    home.prepare(pool_slots())
    log = home.logs / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["dags", "test", "experiment_analysis", "--conf", json.dumps(conf)]
    print(
        f"experiment_analysis for {conf['experiment_id']}: {TASKS} tasks, two to four minutes on two cores; "
        f"the whole log goes to {_shown(log)}",
        flush=True,
    )
    progress, task_logs = Progress(), TaskLogs(home.logs / "tasks")
    with log.open("w") as out, _airflow(home, *command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            out.write(line)
            task_logs.read(line)
            print(progress.read(line), end="", flush=True)
    task_logs.close()
    if process.returncode != 0:
        print(f"\nThe run failed. {_last_error(log)}\nSee {_shown(log)}.", file=sys.stderr)
    _show_decision(str(conf["experiment_id"]), time.monotonic() - began)
    return process.returncode


@dataclass
class Progress:
    """Reads the log of `airflow dags test`: which task of how many has begun, and how it ended."""

    clock: Callable[[], float] = time.monotonic
    number: int = 0
    began: float = 0.0
    word: str = ""

    def read(self, line: str) -> str:
        """The text to print for a log line: number and name where a task begins, seconds and fate where it ends."""
        if match := _STARTING.search(line):
            self.number, self.began, self.word = self.number + 1, self.clock(), ""
            return f"  {f'{self.number}/{TASKS}':>5} {match.group(1):<22}"
        if "Task failed with exception" in line:
            self.word = "  FAILED"
        elif "Skipping task" in line:
            self.word = "  skipped"
        elif _ENDING.search(line):
            return f" {self.clock() - self.began:5.1f} s{self.word}\n"
        return ""


def _last_error(log: Path) -> str:
    """The error text of the first exception in the log."""
    found = re.findall(r"(?:AirflowFailException|StageFailure): (.+)", log.read_text())
    return found[0] if found else ""


def _show_decision(experiment_id: str, seconds: float) -> None:
    from exp_platform.airflow.lake_reads import latest_decision
    from exp_platform.config.load import load_project
    from exp_platform.memo.summary import decision_summary

    project = load_project()
    decision = latest_decision(project, experiment_id)
    print(f"\n{seconds:.0f} s")
    print(decision_summary(project, experiment_id, decision["dt"]) if decision else "nothing was decided")
    print("To run experiments in Airflow's UI: make up")


# --- make up, make down --------------------------------------------------------------------------------------------


def up(home: Home, seconds: float = 300) -> int:
    """Start every service that is not running, in the background, and wait until the UI shows the DAGs.

    A machine that is busy gets `seconds` to start the API server, and as many for the rest.
    """
    pids = _alive(home)
    if pids:  # a running Airflow keeps the port that it was started with
        home = replace(home, port=recorded(home)["port"])
    if len(pids) == len(SERVICES):
        print(f"Airflow is already running: {home.url} (login {LOGIN}, password {home.password}); make down stops it")
        return 0
    if "api-server" not in pids and _port_taken(home.port):
        print(f"port {home.port} is taken: stop what uses it, or choose another: make up PORT=8090", file=sys.stderr)
        return 1
    home.prepare(pool_slots())
    home.logs.mkdir(parents=True, exist_ok=True)
    print("Airflow is starting", end="", flush=True)
    for service in (name for name in SERVICES if name not in pids):
        if service == "scheduler" and not _wait(home, pids, _answers, seconds):
            break
        with (home.logs / f"{service}.log").open("a") as log:
            pids[service] = _airflow(home, service, stdout=log, start_new_session=True).pid
        _pid_file(home).write_text(json.dumps({"port": home.port, "pids": pids}))
    if len(pids) < len(SERVICES) or not _wait(home, pids, _ready, seconds):
        print(f"\nAirflow did not become ready; see {_shown(home.logs)}/*.log. Stopping it.", file=sys.stderr)
        down(home)
        return 1
    print(
        f"\nAirflow is ready: {home.url}\nlogin {LOGIN}, password {home.password}\n"
        f"logs in {_shown(home.logs)}; make down stops it"
    )
    return 0


def down(home: Home) -> int:
    """Stop every service by SIGTERM, after 20 seconds by SIGKILL; the Spark applications end with their tasks."""
    alive = _alive(home)
    if not alive:
        print("Airflow is not running")
        return 0
    for pid in alive.values():
        _signal_group(pid, signal.SIGTERM)
    until = time.monotonic() + 20
    while time.monotonic() < until and any(_running(pid) for pid in alive.values()):
        time.sleep(0.2)
    for pid in alive.values():
        _signal_group(pid, signal.SIGKILL)
    _pid_file(home).unlink(missing_ok=True)
    print("Airflow has stopped")
    return 0


def _pid_file(home: Home) -> Path:
    return home.folder / "services.json"


def _alive(home: Home) -> dict[str, int]:
    """Name -> process id, for the running services of this home."""
    return {name: pid for name, pid in recorded(home)["pids"].items() if _running(pid)}


def recorded(home: Home) -> dict[str, Any]:
    """The port and the process ids that `make up` wrote down; no process where it never ran."""
    file = _pid_file(home)
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"port": home.port, "pids": {}}
    return content


def _running(pid: int) -> bool:
    """True when the process runs, is no zombie, and is Airflow's, as the id may have been given to another process."""
    shown = subprocess.run(["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return shown.returncode == 0 and not shown.stdout.startswith("Z") and "airflow" in shown.stdout


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _wait(home: Home, started: Mapping[str, int], done: Callable[[Home], bool], seconds: float) -> bool:
    """Wait until `done` is true; false when the time is up or one of the started services has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if len(_alive(home)) < len(started):
            return False
        if done(home):
            return True
        print(".", end="", flush=True)
        time.sleep(1)
    return False


def _ready(home: Home) -> bool:
    """True when every service is healthy and the DAGs can be seen."""
    health = _health(home)
    healthy = all(health.get(name) == "healthy" for name in ("scheduler", "dag_processor", "triggerer"))
    return healthy and _dags_loaded(home)


def _answers(home: Home) -> bool:
    """True when the API server answers."""
    return bool(_health(home))


def _health(home: Home) -> dict[str, str]:
    """Name -> status of each service, as the API server tells it; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"{home.url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310  the address of the local API server
            return {name: found["status"] for name, found in json.load(answer).items()}
    except (OSError, urllib.error.URLError, ValueError):
        return {}


def _dags_loaded(home: Home) -> bool:
    from exp_platform.airflow.client import Client

    expected = {file.stem for file in home.dags.glob("*.py")}
    try:
        found = Client(home.url, LOGIN, home.password).get("/dags")
    except OSError:
        return False
    return expected <= {dag["dag_id"] for dag in found["dags"]}


# --- shared --------------------------------------------------------------------------------------------------------


def _airflow(home: Home, *arguments: str, **kwargs: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.Popen(command, env=home.environment(), stderr=subprocess.STDOUT, text=True, **kwargs)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _words(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m exp_platform.airflow.local", description=__doc__)
    parser.add_argument("command", choices=("demo", "up", "down"))
    parser.add_argument("--home", type=Path, default=clone_root() / "data" / "airflow")
    parser.add_argument("--dags", type=Path, default=clone_root() / "dags")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8080))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; a refused command prints one sentence."""
    words = _words(argv)
    home = Home(words.home.resolve(), words.port, words.dags.resolve())
    try:
        if words.command == "demo":
            return demo(home, DEMO)
        return up(home) if words.command == "up" else down(home)
    except ExpError as error:
        print(f"{words.command}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
