"""`python -m exp_platform.calibration --out docs/calibration.md [--quick]`: simulate, then write the page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from exp_platform.calibration import (
    calibration_page as page,
)
from exp_platform.calibration import (
    clusters,
    daily_looks,
    decisions,
    edges,
    exposed,
    gates,
    integers,
    moved_ends,
    one_look,
    plot,
)
from exp_platform.calibration import (
    dealt_buckets as buckets,
)
from exp_platform.calibration import (
    past_faults as faults,
)
from exp_platform.calibration.findings import Measured, Promise

Study = Callable[[np.random.Generator, int], Iterator[Measured]]

SEED = 20260201
EXPERIMENTS = 5_000
QUICK = 600


def run(experiments: int, seed: int, log: Callable[[str], None]) -> tuple[list[Measured], daily_looks.Looks]:
    """All studies, each from its own random stream so that none moves when another changes."""
    streams = iter(np.random.default_rng(seed).spawn(len(_studies(experiments)) + 1))
    findings, looks = daily_looks.false_alarms(next(streams), experiments)
    log(f"daily looks: {len(findings)} findings")
    for name, study in _studies(experiments):
        found = list(study(next(streams)))
        log(f"{name}: {len(found)} findings")
        findings += found
    return findings, looks


def _studies(experiments: int) -> list[tuple[str, Callable[[np.random.Generator], Iterator[Measured]]]]:
    """Name and study; expensive ones get fewer experiments, rare events more."""
    plan: list[tuple[Study, int]] = [
        *((study, experiments) for study in one_look.studies()),
        (edges.false_positives, 2 * experiments),
        (edges.relative_coverage, 2 * experiments),
        (edges.daily_looks, experiments // 2),
        (edges.guardrails, experiments // 2),
        (faults.rows, experiments // 2),
        (integers.rows, experiments // 5),
        (clusters.rows, experiments),
        (one_look.quantiles, experiments),
        (one_look.skewed, experiments // 5),
        (daily_looks.interval_coverage, experiments // 4),
        (gates.sample_ratio, 4 * experiments),
        (gates.guardrails, experiments // 4),
        (gates.pre_trends, experiments // 4),
        (gates.secondary_metrics, experiments // 4),
        (decisions.decision_errors, experiments // 5),
        (buckets.study, 2 * experiments),
        (exposed.rows, experiments),
        (moved_ends.rows, experiments // 2),
    ]
    return [(_name(study), partial(_sized, study, count)) for study, count in plan]


def _sized(study: Study, count: int, rng: np.random.Generator) -> Iterator[Measured]:
    return study(rng, count)


def _name(study: Study) -> str:
    return f"{study.__module__.rsplit('.', 1)[-1]}.{study.__qualname__}"


def main(argv: list[str] | None = None) -> int:
    """Write the page and its charts; exit 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m exp_platform.calibration", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/calibration.md"), help="page to write")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} experiments a study in place of {EXPERIMENTS}")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    findings, looks = run(QUICK if options.quick else EXPERIMENTS, options.seed, print)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page.render(findings, options.seed, options.out.stem), encoding="utf-8")
    one = [f for f in findings if f.study == "A/A, one look"]
    for name, chart in (
        ("looks", plot.looks_chart(looks, one_look.ALPHA)),
        ("one_look", plot.findings_chart(one, "False positives at one look, with the Monte-Carlo band around 5%")),
    ):
        options.out.with_name(f"{options.out.stem}_{name}.svg").write_text(chart, encoding="utf-8")
    broken = [f for f in findings if not f.kept]
    for found in broken:
        print(f"not kept: {found.study}: {found.case}: {found.rate:.4f}, {found.promise.value} {found.target:.4f}")
    promised = sum(f.promise is not Promise.REPORTED for f in findings)
    print(f"{promised - len(broken)} of {promised} promises kept; page: {options.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
