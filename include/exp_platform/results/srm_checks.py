"""Sample ratio: did the arms get the share of units that the registry promised? And how far is the plan?"""

from __future__ import annotations

from typing import Any

import numpy as np

from exp_platform.results.checks import CheckInputs, check_row
from exp_platform.results.cube import Cube
from exp_platform.stats.power import days_to_planned
from exp_platform.stats.srm import SrmLocalisation, SrmResult, localise_srm, srm_test
from exp_platform.stats.sufficient import Array
from exp_platform.stats.thresholds import CHECK_SPEAKS_BELOW, SRM_FAILS_BELOW, speaks
from exp_platform.status import CheckStatus

Rows = list[dict[str, Any]]


def srm_checks(inputs: CheckInputs) -> Rows:
    """The gates srm_assigned and srm_analysed, the chi-square beside each, and where a mismatch comes from.

    The sequential test may be looked at every day. The chi-square is for one look: it gates at the planned end, when no
    more units come. A rollout does not draw its arms at random and promises no ratio: nothing is asked of it.
    """
    if inputs.plan.is_rollout:
        return []
    assigned, days = assigned_counts(inputs)
    by_date, by_segment = analysed_counts(inputs)
    rows: Rows = []
    for name, counts, dates in (("srm_assigned", assigned, days), ("srm_analysed", by_date, inputs.axes.dates)):
        rows += _gate(name, counts, dates, inputs)
    by_day = localise_srm(assigned, _allocation(inputs))
    rows += _located("srm_by_day", by_day, [f"date={day}" for day in days], inputs)
    segments = inputs.axes.segments[1:]
    if segments:
        rows += _located("srm_by_segment", localise_srm(by_segment[1:], _allocation(inputs)), segments, inputs)
    return rows


def planned_users_check(inputs: CheckInputs) -> Rows:
    """Assigned users against the planned ones, and the further days to get there at the rate so far; never a verdict.

    The plan counts users who take part: in mode exposed fewer are analysed, and that is no lack of users.
    """
    assigned, _ = assigned_counts(inputs)
    units, plan = float(assigned.sum()), inputs.plan
    seen_until = min(plan.cutoff, plan.experiment.end_ts)
    days_so_far = (seen_until - plan.experiment.start_ts).total_seconds() / 86_400
    days_so_far -= sum(day < seen_until.date() for day in plan.experiment.excluded("assignments"))
    further = days_to_planned(units, days_so_far, plan.experiment.planned_users)
    if further == 0:
        detail = "the planned number of users is reached"
    elif plan.cutoff >= plan.experiment.end_ts:
        detail = "enrolment has ended below the planned number of users"
    else:
        detail = "no users yet" if further is None else f"about {further} more days at the rate so far"
    planned = plan.experiment.planned_users
    return [check_row("planned_users", statistic=further, observed=units, expected=planned, detail=detail)]


def assigned_counts(inputs: CheckInputs) -> tuple[Array, tuple[Any, ...]]:
    """Validly assigned users by assignment date × arm, without those of excluded dates."""
    arms = {arm: i for i, arm in enumerate(inputs.axes.arms)}
    excluded = inputs.plan.experiment.excluded("assignments")
    rows = [
        row for row in inputs.assigned if row["variant_id"] in arms and row["assigned"] and row["date"] not in excluded
    ]
    days = tuple(sorted({row["date"] for row in rows}))
    position = {day: i for i, day in enumerate(days)}
    counts = np.zeros((len(days), len(arms)))
    for row in rows:
        counts[position[row["date"]], arms[row["variant_id"]]] = row["assigned"]
    return counts, days


def analysed_counts(inputs: CheckInputs) -> tuple[Array, Array]:
    """Units of the cohort by cohort date × arm, and by segment × arm."""
    cube: Cube = inputs.cubes[0]
    included = (cube.stats.n + cube.stats.n_null)[:, :, 0, :]
    return included[..., 0].T, included.sum(axis=1).T


def _allocation(inputs: CheckInputs) -> list[float]:
    return [inputs.plan.experiment.shares[arm] for arm in inputs.axes.arms]


def _gate(name: str, counts: Array, days: Any, inputs: CheckInputs) -> Rows:
    result = srm_test(counts, _allocation(inputs))
    total = result.observed.sum()
    worst = int(np.argmax(np.abs(result.observed - result.expected)))
    shares: dict[str, Any] = {
        "observed": result.observed[worst] / total if total else None,
        "expected": result.expected[worst] / total if total else None,
        "statistic": result.chi_square,
    }
    at_the_end = inputs.plan.planned_end_reached
    final = "chi-square at the planned end" if at_the_end else "chi-square at this look alone; gates at the planned end"
    return [
        check_row(
            name,
            result.status,
            p_value=result.sequential_p,
            threshold=SRM_FAILS_BELOW,
            detail=_counts(result, days, inputs),
            **shares,
        ),
        check_row(
            name.replace("srm_", "srm_fixed_"),
            result.final_status if at_the_end else CheckStatus.OK,
            p_value=result.p_value,
            threshold=SRM_FAILS_BELOW if at_the_end else None,
            detail=final,
            **shares,
        ),
    ]


def _counts(result: SrmResult, days: Any, inputs: CheckInputs) -> str:
    arms = [inputs.axes.arms[i] for i in result.arms]
    words = [
        f"{arm} {seen:,.0f} of {wanted:,.0f} expected"
        for arm, seen, wanted in zip(arms, result.observed, result.expected, strict=True)
    ]
    if result.first_crossing is not None:
        words.append(f"first below {SRM_FAILS_BELOW:g} on {days[result.first_crossing]}")
    return "; ".join(words)


def _located(name: str, found: SrmLocalisation, groups: Any, inputs: CheckInputs) -> Rows:
    """One row per group that holds units; `warn` by the p after Holm."""
    return [
        check_row(
            name,
            speaks(adjusted, CheckStatus.WARN),
            segment=group,
            statistic=statistic,
            p_value=adjusted,
            threshold=CHECK_SPEAKS_BELOW,
            detail="Holm-adjusted; does not gate",
        )
        for group, statistic, adjusted in zip(groups, found.statistic, found.p_value_adjusted, strict=True)
        if np.isfinite(adjusted)
    ]
