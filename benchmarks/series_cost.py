"""The cost of the series of running values beside the rest of J4 and J5: ratios of processor time within one run.

python -m benchmarks.series_cost --users 100000
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.spine_bench import DAY_29, DAY_30, ROOT, SPINE, _cpu, _total, make_project, pipeline, write_raw

from exp_platform.spark.session import build_spark_session
from exp_platform.transforms import metric_tables


def measure(folder: Path, users: int) -> dict[str, Any]:
    """Processor seconds of the series and of all of J4 and J5: a warm run over everything, and a day more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    project = make_project(folder)
    write_raw(folder / "raw", users)
    spark = build_spark_session("series", project)
    spent: list[float] = []
    made = metric_tables.metric_series

    def timed(*arguments: Any) -> Any:
        before = _cpu(spark)
        found = made(*arguments)
        spent.append(_cpu(spark) - before)
        print(f"{found[1]}: {found[0].num_rows:,} rows", flush=True)
        return found

    metric_tables.metric_series = timed
    runs = {
        "first": pipeline(project, DAY_29, "r1", spark),
        "everything, warm": pipeline(project, DAY_29, "r2", spark, full_refresh=True),
        "one more day": pipeline(project, DAY_30, "r3", spark),
    }
    spark.stop()
    found: dict[str, Any] = {"users": users}
    for (name, run), series in zip(runs.items(), spent, strict=True):
        spine = _total(run, SPINE).cpu
        found[name] = {
            "series": round(series, 2),
            "J4 and J5": spine,
            "series over the rest": round(series / (spine - series), 3),
        }
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "bench_series")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.folder, arguments.users), indent=2))


if __name__ == "__main__":
    main()
