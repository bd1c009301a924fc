"""A stage started by hand, with nothing but what the README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT, make_project

pytestmark = pytest.mark.spark


def test_a_bare_spark_submit_runs_a_stage_with_the_settings_of_the_profile(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    submit = Path(sys.executable).parent / "spark-submit"
    job = [str(submit), "spark_jobs/build_assignments.py", "--config", str(project.path), "--dt", "2026-01-20"]
    environment = os.environ | {"PATH": f"{submit.parent}:{os.environ['PATH']}"}
    for name in ("SPARK_HOME", "SPARK_ENV_LOADED", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
        environment.pop(name, None)
    done = subprocess.run(
        [*job, "--experiment-id", "exp_checkout_button_001"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "read 0 rows of exp.assignments" in done.stdout, done.stderr[-2000:]
    assert done.returncode in (0, 65), done.stderr[-2000:]  # what an empty lake is worth is the suite's to say
    assert "fault:" not in done.stderr
