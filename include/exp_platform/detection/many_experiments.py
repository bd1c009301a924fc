"""Judge many experiments in one Spark job, by the platform's transforms of J1 and J2, its verdicts and its SRM test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import reduce
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from exp_platform.config.models import QualitySettings
from exp_platform.detection.cases import Case, Outcome
from exp_platform.pipelines.dates import cutoff, last_synthetic_day
from exp_platform.quality.outcome_volume import outcome_verdicts
from exp_platform.quality.verdicts import exposure_verdicts
from exp_platform.stats.srm import srm_test
from exp_platform.status import CheckStatus
from exp_platform.synth.frames import Frames, draw
from exp_platform.synth.generation import SynthPlan
from exp_platform.synth.planted_faults import FAULTS, resolve_faults
from exp_platform.transforms.assignments import canonical_assignments
from exp_platform.transforms.exposures import judge_exposures, validate_users
from exp_platform.transforms.quality_daily import daily_outcome_volume, daily_quality

UNTOUCHED = "healthy"  # stands for the unchanged outcomes, which are measured once for all cases
Fired = dict[str, set[str]]  # experiment -> checks that failed


def draw_seeds(spark: SparkSession, plan: SynthPlan, seeds: int) -> Frames:
    """Healthy data of `seeds` experiments of the plan's size; the column `_seed` numbers the experiments.

    A user's random numbers come from a hash of seed and user, so another set of users is as random as another seed.
    """
    scenario = plan.scenario.model_copy(update={"n_users": plan.scenario.n_users * seeds})
    many = draw(spark, replace(plan, scenario=scenario, metrics=())).frames
    number = F.floor(F.substring_index("user_id", "_", -1).cast("long") / plan.scenario.n_users).cast("string")
    return Frames(**{name: frame.withColumn("_seed", number) for name, frame in many.present().items()})


def with_id(frames: Frames, experiment_id: Column) -> Frames:
    """The frames with another experiment id in every row."""
    return Frames(**{n: f.withColumn("experiment_id", experiment_id) for n, f in frames.present().items()})


def run_cases(spark: SparkSession, plan: SynthPlan, wanted: Iterable[Case], seeds: int) -> list[Outcome]:
    """Run every case on every seed."""
    wanted = tuple(wanted)
    healthy = draw_seeds(spark, plan, seeds)
    kept = Frames(**{name: frame.persist() for name, frame in healthy.present().items()})
    broken, own_outcomes = [], []
    for case in wanted:
        (fault,) = resolve_faults([case.fault], plan)
        rows = FAULTS[fault.name].rows
        assert rows is not None, f"{fault.name} is no fault of rows"
        changed = rows(kept, fault.size, fault.days, plan)
        named = with_id(changed, _name(case.key))
        broken.append(named)
        if changed.outcomes is not kept.outcomes:
            own_outcomes.append(named.outcomes)
    untouched = with_id(kept, _name(UNTOUCHED)).outcomes
    frames = replace(_union(broken), outcomes=reduce(DataFrame.unionByName, own_outcomes, untouched))
    fired = judge(frames, plan)
    for frame in kept.present().values():
        frame.unpersist()
    return [
        Outcome(case, seeds, Counter(check for seed in range(seeds) for check in fired.get(f"{case.key}/{seed}", ())))
        for case in wanted
    ]


def run_healthy(spark: SparkSession, plan: SynthPlan, seeds: int) -> Fired:
    """Experiment -> failed checks, for so many healthy experiments."""
    fired = judge(with_id(draw_seeds(spark, plan, seeds), _name(UNTOUCHED)), plan)
    assert len(fired) == seeds, f"{len(fired)} of {seeds} experiments came back"
    return fired


def _name(case: str) -> Column:
    return F.concat(F.lit(f"{case}/"), F.col("_seed"))


def judge(frames: Frames, plan: SynthPlan) -> Fired:
    """The checks of J2, and the SRM gate on assigned users, that fail for each experiment_id in the frames."""
    daily, volume = measure(frames, plan)
    settings = QualitySettings()
    found = {}
    for name, rows in daily.items():
        events = volume.get(name) or volume[f"{UNTOUCHED}/{name.rpartition('/')[2]}"]
        found[name] = failed_checks(rows, events, plan, settings)
    return found


def measure(
    frames: Frames, plan: SynthPlan
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[tuple[str, date], int]]]:
    """Experiment -> daily measures, and experiment -> outcome volumes, as of the last day."""
    experiment, seen = plan.experiment, as_of(plan)
    window: dict[str, Any] = {"start_ts": experiment.start_ts, "end_ts": experiment.end_ts, "cutoff": seen}
    assert frames.assignments is not None
    assignments = canonical_assignments(frames.assignments, **window).persist()
    judged = judge_exposures(
        frames.exposures, assignments, exposure_window_hours=experiment.exposure_window_hours, **window
    )
    daily: dict[str, list[dict[str, Any]]] = {}
    for row in daily_quality(assignments, validate_users(judged, assignments)).collect():
        daily.setdefault(row["experiment_id"], []).append(row.asDict())
    assignments.unpersist()
    sources = sorted({source for metric in plan.metrics for source in metric.sources})
    volume: dict[str, dict[tuple[str, date], int]] = {}
    for row in daily_outcome_volume(frames.outcomes, sources, start_ts=experiment.start_ts, cutoff=seen).collect():
        volume.setdefault(row["experiment_id"], {})[(row["metric_name"], row["date"])] = row["events"]
    return daily, volume


def failed_checks(
    daily: list[dict[str, Any]], volume: Mapping[tuple[str, date], int], plan: SynthPlan, settings: QualitySettings
) -> set[str]:
    """Names of the checks that fail on at least one day, with `srm` when the SRM test fails."""
    experiment, seen = plan.experiment, as_of(plan)
    verdicts = exposure_verdicts(
        daily,
        cutoff=seen,
        settings=settings,
        exposure_window_hours=experiment.exposure_window_hours,
        assignment_source=experiment.assignment_source,
        exposures_needed=True,
    )
    verdicts += outcome_verdicts(
        volume,
        start=experiment.start_ts.date(),
        end=experiment.end_ts.date(),
        dt=last_day(plan),
        settings=settings,
    )
    failed = {v.check_name for v in verdicts if v.status is CheckStatus.FAIL}
    if srm_fails(daily, plan):
        failed.add("srm")
    return failed


def srm_fails(daily: list[dict[str, Any]], plan: SynthPlan) -> bool:
    """True when the sequential SRM test on validly assigned users by assignment date fails."""
    arms = [variant.id for variant in plan.experiment.variants]
    days = sorted({row["date"] for row in daily})
    counts = np.zeros((len(days), len(arms)))
    for row in daily:
        if row["variant_id"] in arms:
            counts[days.index(row["date"]), arms.index(row["variant_id"])] = row["assigned"]
    return srm_test(counts, list(plan.experiment.shares.values())).status is CheckStatus.FAIL


def last_day(plan: SynthPlan) -> date:
    """The dt at which every window is closed."""
    return last_synthetic_day(plan.experiment, plan.scenario, plan.metrics)


def as_of(plan: SynthPlan) -> datetime:
    """The cut-off of the last day: events before this instant are seen."""
    return cutoff(last_day(plan))


def _union(frames: list[Frames]) -> Frames:
    def stack(name: str) -> DataFrame:
        whole: DataFrame = reduce(DataFrame.unionByName, [getattr(f, name) for f in frames])
        return whole

    return Frames(**{name: stack(name) for name in frames[0].present()})
