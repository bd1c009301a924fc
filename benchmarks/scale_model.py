"""The cost of a stage as a sum of few terms, fitted to small runs and checked against large ones.

python -m benchmarks.scale_model data/bench_scale/*.jsonl

It prints the tables of docs/scaling.md: what each stage uses for a user, an event and so on, from runs of 50,000 and
100,000 users in each of which one thing is changed; and what that foretells of larger runs, over what was measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

FITTED = ("100k", "50k", "more_events", "more_metrics", "fewer_days")
CHECKED = ("100k", "1m", "5m", "20m")
# Figure -> its unit: MB, seconds. Bytes read are left out: Spark counts those of a task's own thread alone, and Iceberg
# reads large files in others.
FIGURES = {"shuffled": 1e6, "written": 1e6, "cpu": 1.0}
TERMS = ("a run", "1,000 users", "1,000 events", "1,000 users and metric", "a day of enrolment")
METRICS = 10
LEAST = 0.001  # of all stages together; below it a stage has no line
Run = Mapping[str, Any]


def terms_of(run: Run) -> list[float]:
    """The value of each term for one run."""
    users = run["users"] / 1000
    return [1, users, run["events"] / 1000, users * METRICS * run["metric_sets"], run["days"]]


def fit(runs: Mapping[str, Run], stage: str, figure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The coefficient of each term, none below zero, which meets the small runs best relative to their size."""
    rows = [runs[name] for name in FITTED]
    measured = np.array([max(run["stages"][stage][figure], 1e-9) / FIGURES[figure] for run in rows])
    found, _ = nnls(np.array([terms_of(run) for run in rows]) / measured[:, None], np.ones(len(rows)))
    return np.asarray(found, dtype=np.float64)


def model_table(runs: Mapping[str, Run], stages: Iterable[str], figure: str) -> list[str]:
    """Markdown: the coefficients of each stage."""
    lines = [f"| {figure} | {' | '.join(TERMS)} |", f"|---|{'---|' * len(TERMS)}"]
    for stage in stages:
        lines.append(f"| {stage} | {' | '.join(f'{c:.3g}' if c else '' for c in fit(runs, stage, figure))} |")
    return lines


def check_table(runs: Mapping[str, Run], stages: list[str], figure: str) -> list[str]:
    """Markdown: measured figures, and the foretold ones over them."""
    sizes = [name for name in CHECKED if name in runs]
    lines = [f"| {figure} | {' | '.join(sizes)} |", f"|---|{'---|' * len(sizes)}"]
    total = dict.fromkeys(sizes, (0.0, 0.0))
    for stage in stages:
        coefficients, cells = fit(runs, stage, figure), []
        for name in sizes:
            seen = runs[name]["stages"][stage][figure] / FIGURES[figure]
            told = float(coefficients @ terms_of(runs[name]))
            total[name] = (total[name][0] + seen, total[name][1] + told)
            cells.append(cell(seen, told))
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return [*lines, f"| all | {' | '.join(cell(*total[name]) for name in sizes)} |"]


def cell(seen: float, told: float) -> str:
    """A measured figure and the ratio of the foretold one to it."""
    return f"{seen:,.3g} ({told / seen:.2f})" if seen else "0"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("books", type=Path, nargs="+")
    lines = [line for book in parser.parse_args().books for line in book.read_text().splitlines()]
    runs = {run["name"]: run for run in map(json.loads, lines)}
    for figure in FIGURES:
        used = {stage: of[figure] / FIGURES[figure] for stage, of in runs["100k"]["stages"].items()}
        stages = [stage for stage in used if used[stage] > LEAST * sum(used.values())]
        print(*model_table(runs, stages, figure), "", *check_table(runs, stages, figure), "", sep="\n")
    for name, run in runs.items():
        print(name, run["memory GB"], {stage: used["spilled"] for stage, used in run["stages"].items()})


if __name__ == "__main__":
    main()
