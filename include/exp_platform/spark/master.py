"""Asks whether a standalone master answers before a session is built, which would else take a minute to give up."""

from __future__ import annotations

import re
import socket
import time

from exp_platform.errors import ExpError

_STANDALONE = re.compile(r"spark://(.+)")
WAIT_SECONDS = 10.0


def require_master(master: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """One sentence when none of the standalone masters of `spark://host:port,host:port` takes a connection in time."""
    match = _STANDALONE.fullmatch(master)
    if match is None:
        return
    until = time.monotonic() + wait_seconds
    while True:
        reasons = [_unreachable(address) for address in match.group(1).split(",")]
        if not all(reasons):
            return
        if time.monotonic() + 0.5 > until:
            break
        time.sleep(0.5)
    raise ExpError(
        f"the Spark master {master} does not answer ({reasons[0]}): start it, or set spark.master of the profile "
        "($EXP_SPARK_MASTER) to the one that runs"
    )


def _unreachable(address: str) -> str:
    """The reason why no connection to host:port can be made; empty when it can."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return f"found {address!r}, expected host:port"
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
