"""Ports for the servers that tests start."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

# The system gives the ports from 32,768 on to outgoing connections: a server that is told one of them may find it
# taken, although it was free when it was looked for.
FIRST, LAST = 10_100, 20_000
BLOCK = 20
WORKERS = 8  # each takes blocks of its own
HIGHER = 10_000  # the object store takes for each port the one that is this much higher


def free_ports() -> int:
    """The first of twenty ports in a row that are free, as are those 10,000 higher; the next call gives others."""
    for _ in range(len(_blocks)):
        _blocks.rotate()
        if all(_is_free(_blocks[0] + further + high) for further in range(BLOCK) for high in (0, HIGHER)):
            return _blocks[0]
    raise AssertionError("no free ports in a row")


def _blocks_of_this_process() -> deque[int]:
    """The blocks of this worker in an order of chance, since another suite may run on the machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    blocks = list(range(FIRST, LAST, BLOCK))[worker % WORKERS :: WORKERS]
    random.SystemRandom().shuffle(blocks)
    return deque(blocks)


_blocks = _blocks_of_this_process()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so that closed ones don't count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
