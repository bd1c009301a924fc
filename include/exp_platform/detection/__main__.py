"""Run the detection matrix and write its page.

python -m exp_platform.detection --out docs/detection-matrix.md
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from exp_platform.config.load import load_project
from exp_platform.detection.cases import Outcome, cases
from exp_platform.detection.many_experiments import run_cases, run_healthy
from exp_platform.detection.matrix_page import Healthy, page
from exp_platform.detection.pipeline import Bench, scratch_project
from exp_platform.detection.world import detection_plan
from exp_platform.pipelines.job import Parser, exit_with
from exp_platform.synth.planted_faults import FAULTS

USERS = {"exposures": 12_000, "pipeline": 4_000}
HEALTHY_USERS = 3_000
HEALTHY_BATCH = 60  # experiments in one Spark job


def main() -> None:
    """Run the matrix from the command line; exit code 1 when a case is not as expected."""
    parser = Parser(prog="detection", description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="the page, for example docs/detection-matrix.md")
    parser.add_argument("--config", default=None, help="profile; default $EXP_CONFIG, else configs/dev.yaml")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each case of the fast path")
    parser.add_argument("--pipeline-seeds", type=int, default=1, help="seeds of each case through the real stages")
    parser.add_argument("--healthy-seeds", type=int, default=240)
    try:
        arguments = parser.parse_args()
        with tempfile.TemporaryDirectory(prefix="exp_detect_") as folder:
            outcomes, healthy = run_matrix(arguments, Path(folder))
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(page(outcomes, healthy, USERS), encoding="utf-8")
    except Exception as error:
        exit_with(error)
    wrong = [outcome.case.key for outcome in outcomes if not outcome.as_expected]
    print(
        f"{len(outcomes)} cases, {len(wrong)} not as expected{': ' if wrong else ''}{', '.join(wrong)}; {arguments.out}"
    )
    sys.exit(1 if wrong else 0)


def run_matrix(arguments, folder: Path) -> tuple[list[Outcome], Healthy]:  # type: ignore[no-untyped-def]
    """Run every case and the healthy seeds in one session, with a temporary lake."""
    from exp_platform.spark.session import build_spark_session

    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    project = scratch_project(load_project(arguments.config), folder)
    spark = build_spark_session("detect", project)
    fast = run_cases(spark, detection_plan(project, USERS["exposures"]), cases("exposures"), arguments.seeds)
    for outcome in fast:
        fired = ", ".join(f"{check} {n}/{outcome.seeds}" for check, n in sorted(outcome.fired.items()))
        say(f"{outcome.case.key}: {fired or 'nothing fired'}")
    healthy = run_healthy_seeds(spark, project, arguments.healthy_seeds)
    say(f"healthy: {healthy.experiments_with_any} of {healthy.seeds} with a failed check")
    plan = detection_plan(project, USERS["pipeline"])
    registered = replace(project, experiments={plan.experiment_id: plan.experiment})
    bench = Bench(registered, spark, plan, say)
    slow = bench.run_cases(cases("ingest", "results"), range(arguments.pipeline_seeds))
    spark.stop()
    order = list(FAULTS)
    return sorted([*fast, *slow], key=lambda outcome: order.index(outcome.case.fault.name)), healthy


def run_healthy_seeds(spark, project, seeds: int, users: int = HEALTHY_USERS) -> Healthy:  # type: ignore[no-untyped-def]
    """Count false alarms on healthy experiments, in batches so that memory does not grow with their number."""
    fired: Counter[str] = Counter()
    any_check, done = 0, 0
    plan = detection_plan(project, users)
    while done < seeds:
        batch = min(HEALTHY_BATCH, seeds - done)
        for checks in run_healthy(spark, replace(plan, seed=1000 + done), batch).values():
            fired.update(checks)
            any_check += bool(checks)
        done += batch
    return Healthy(seeds, users, fired, any_check)


if __name__ == "__main__":
    main()
