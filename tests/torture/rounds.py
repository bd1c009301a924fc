"""Maintenance in a process and a JVM of its own, round after round, until a file says that it is over.

python -m tests.torture.rounds PROFILE BEGAN OVER
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from unittest import mock

from tests.torture.upkeep import one_round

from exp_platform.config.load import load_project
from exp_platform.operations import maintenance
from exp_platform.spark.session import build_spark_session


def main(profile: str, began: str, over: str) -> None:
    """Print a line for each round that ended well; what ends a round badly ends the process."""
    project = load_project(Path(profile))
    spark = build_spark_session("maintenance", project)
    number = 0
    with mock.patch.object(maintenance, "SMALL_FILES", 2):
        while not Path(over).exists():
            one_round(project, spark, number, datetime.fromisoformat(began))
            number += 1
            print(f"round {number}", flush=True)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
