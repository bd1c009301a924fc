"""A Postgres server of its own in a temp folder, for tests that want a real one; skipped where none is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ports import free_ports


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start a server and yield `host:port/database`, user `postgres` without a password."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []
    path = os.pathsep.join([*map(str, reversed(known)), os.environ["PATH"]])
    initdb, server = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if initdb is None or server is None:
        pytest.skip("no Postgres server is installed (Debian: apt-get install postgresql)")
    who = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if who:  # the server refuses to run as root
        for part in (folder, *folder.parents):
            if part.stat().st_uid == 0 and part not in (Path("/"), Path("/tmp")):
                part.chmod(part.stat().st_mode | 0o055)
        shutil.chown(folder, "postgres", "postgres")
    port = free_ports()
    data, quiet = str(folder / "data"), {"check": True, "capture_output": True, "cwd": folder}
    subprocess.run([initdb, "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"], **quiet, **who)
    words = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    started = [server, "-D", data, "-w", "-t", "300", "-l", str(folder / "log"), "-o", words, "start"]
    subprocess.run(started, **quiet, **who)
    try:
        yield f"127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([server, "-D", data, "-m", "immediate", "-t", "300", "stop"], **quiet, **who)
