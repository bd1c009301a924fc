"""A stage in a process with a JVM of its own, which comes to harm: python -m tests.torture.driver HARM STAGE ARGUMENTS.

Scenarios with a shared JVM fork their drivers; this one is for harm to the JVM itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from tests.torture.points import at_point

from exp_platform.pipelines.job import main

PIECE, LEFT = 4 * 2**20, 6 * 2**20  # bytes of a piece of ballast, and of the heap that stays free
_BALLAST: list[Any] = []  # what the JVM must not collect


def kill_jvm() -> None:
    """Kill the JVM alone, as a kernel that runs out of memory does: it takes the largest process."""
    from pyspark import SparkContext

    process = SparkContext._gateway.proc
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def fill_heap() -> None:
    """Leave the JVM a few MB of its heap."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    runtime = gateway.jvm.java.lang.Runtime.getRuntime()
    runtime.gc()
    while runtime.maxMemory() - runtime.totalMemory() + runtime.freeMemory() > LEFT + PIECE:
        _BALLAST.append(gateway.new_array(gateway.jvm.byte, PIECE))


HARMS = {"kill_jvm": kill_jvm, "fill_heap": fill_heap, "none": lambda: None}

if __name__ == "__main__":
    harm, stage, *arguments = sys.argv[1:]
    with at_point("before it writes", HARMS[harm]):
        main(stage, arguments)
