"""The cost of the series of running values beside the rest of J4 and J5: ratios of processor time within one run.

python -m benchmarks.series_cost --users 100000
python -m benchmarks.series_cost --users 1000000 --once

`--once` takes J4's time from the first run, which at a million users differs little from that of a warm session.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.spine_bench import (
    DAY_29,
    DAY_30,
    EXPERIMENT,
    ROOT,
    SPINE,
    _cpu,
    _total,
    make_project,
    pipeline,
    write_raw,
)

from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_stage import run_stage
from exp_platform.spark.session import build_spark_session
from exp_platform.transforms import metric_tables, running_values

J4, J5 = SPINE


def measure(folder: Path, users: int, once: bool = False) -> dict[str, Any]:
    """Processor seconds of the series and of all of J4 and J5: a run over everything, and a day more.

    The series shares its pass over all events with other tables: its cost is that of J5 with it less J5 without it, in
    a warm session. On a day more it has what it reads to itself, and is timed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    spark = build_spark_session("series", project)
    first = pipeline(project, DAY_29, "r1", spark)
    found: dict[str, Any] = {"users": users, "first": {"J4": first[J4].cpu, "J5": first[J5].cpu}}
    print(json.dumps(found), flush=True)
    j4 = first[J4].cpu if once else _again(project, spark, J4)
    without = _without_series(lambda: _again(project, spark, J5))
    with_it = _again(project, spark, J5)
    found["everything, warm"] = {
        "J4": j4,
        "J5 without the series": without,
        "J5 with the series": with_it,
        "series over the rest": round((with_it - without) / (j4 + without), 3),
    }
    print(json.dumps(found), flush=True)
    spent: list[float] = []
    metric_tables.metric_series = _timed(metric_tables.metric_series, spark, spent)
    spine = _total(pipeline(project, DAY_30, "r3", spark), SPINE).cpu
    spark.stop()
    ratio = round(spent[0] / (spine - spent[0]), 3)
    return found | {"one more day": {"series": round(spent[0], 2), "J4 and J5": spine, "series over the rest": ratio}}


def _again(project: Any, spark: Any, stage: str) -> float:
    """Processor seconds of one stage that computes everything again."""
    run = Run(project, EXPERIMENT, DAY_29, "r1", Options(full_refresh=True))
    before = _cpu(spark)
    run_stage(run, BY_NAME[stage], session=Session.given(spark), say=lambda _: None)
    return round(_cpu(spark) - before, 2)


def _without_series(work: Callable[[], float]) -> float:
    """Do the work while no metric has a series."""
    known = running_values.has_series
    running_values.has_series = lambda metric: False
    try:
        return work()
    finally:
        running_values.has_series = known


def _timed(made: Callable[..., Any], spark: Any, spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        before = _cpu(spark)
        found = made(*arguments)
        spent.append(_cpu(spark) - before)
        print(f"{found[1]}: {found[0].num_rows:,} rows, {spent[-1]:.1f} s of processor time", flush=True)
        return found

    return timed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench_series")
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.folder, arguments.users, arguments.once), indent=2))


if __name__ == "__main__":
    main()
