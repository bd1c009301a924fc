"""A stage that stops itself (SIGSTOP) when it first comes to a named moment: STAGE MOMENT and the stage's arguments."""

from __future__ import annotations

import os
import signal
import sys

from tests.torture.points import at_point

from exp_platform.pipelines import job

if __name__ == "__main__":
    stage, moment, *arguments = sys.argv[1:]
    with at_point(moment, lambda: os.kill(os.getpid(), signal.SIGSTOP)):
        job.main(stage, arguments)
