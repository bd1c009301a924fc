"""Twelve kinds of memo, each with its known answer, from hand-made statistics: no Spark, no lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from tests import hand_made as hm

from exp_platform.config.models import Guardrail
from exp_platform.config.policy import DEFAULT
from exp_platform.decision.evidence import evidence, exploratory, moment
from exp_platform.decision.rules import decide
from exp_platform.decision.trust import trust_of
from exp_platform.memo.answers import Answers
from exp_platform.memo.blocked import blocked_content
from exp_platform.memo.content import memo_content
from exp_platform.memo.data import data_section
from exp_platform.results.analysis import NOT_TESTED, analyze
from exp_platform.results.checks import CheckInputs
from exp_platform.results.cube import cubes, read_axes
from exp_platform.results.deciding import deciding_rows
from exp_platform.results.frame import Frame, to_table
from exp_platform.results.guardrails import guardrail_rows
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.series import age_series, exposure_quality_series, units_series
from exp_platform.results.validation import validate

RUN = {"run_id": "run_1", "config_hash": "c0ffee", "code_version": "abc", "computed_at": "2026-02-06 00:10 UTC"}
GUARDRAIL = Guardrail(metric="latency", max_relative_harm=0.05)
CONVERSION = hm.metric("conversion", "binary", title="Conversion rate", practical_threshold=0.005)
LATENCY = hm.metric("latency", direction="decrease", title="Page latency", format="milliseconds", owner="platform")
REVENUE = hm.metric("revenue", title="Revenue per user", format="currency", unit="€", aggregation="sum")
SEEDS = {"conversion": 1, "latency": 2, "revenue": 3}


def kind(**keys: Any) -> dict[str, Any]:
    """The content of one memo."""
    return memo_content(*answers_of(**keys), RUN)


@cache
def small_win() -> tuple[Answers, AnalysisPlan]:
    """A clear win of few users."""
    return answers_of(lift=0.04, users=800)


def named(text: str) -> dict[str, Any]:
    """A win whose title, owner, hypothesis and metric have this text as their name."""
    answers, plan = small_win()
    experiment = plan.experiment.model_copy(update={"name": text, "owner": text, "hypothesis": text})
    metrics = tuple(metric.model_copy(update={"title": text}) for metric in plan.metrics)
    return memo_content(answers, replace(plan, experiment=experiment, metrics=metrics), RUN)


def answers_of(
    *,
    arms: Sequence[str] = ("control", "treatment"),
    days: int = 35,
    lift: Mapping[str, float] | float = 0.0,
    harm: float = 0.0,
    users: int = 4000,
    extra: int = 0,
    quality: Sequence[Mapping[str, Any]] = (),
    pretrends: Sequence[Mapping[str, Any]] = (),
    deltas: Sequence[Mapping[str, Any]] = (),
    **keys: Any,
) -> tuple[Answers, AnalysisPlan]:
    """The published rows and the plan; `extra` users more come to control than to the other arms."""
    base: dict[str, Any] = {"guardrails": (GUARDRAIL,), "planned_users": users * len(arms), "owner": "growth"}
    base |= {"name": "Green checkout button", "hypothesis": "A button that stands out lets more users finish."}
    plan = hm.plan([CONVERSION, LATENCY, REVENUE], days, arms=arms, **(base | keys))
    lifts = lift if isinstance(lift, Mapping) else {arms[1]: lift}
    harms = dict.fromkeys(arms[1:], 10 * harm)
    seen = min(days, 28)
    units = {
        "conversion": _units(1, users, arms, seen, extra, effects=lifts, base=0.1, kind="binary"),
        "latency": _units(2, users, arms, seen, extra, effects=harms),
        "revenue": _units(3, users, arms, seen, extra),
    }
    statistics = hm.statistics([(metric, units[metric.name]) for metric in plan.metrics])
    return decided(plan, statistics, hm.assigned(units["conversion"]), quality, pretrends, deltas), plan


def decided(
    plan: AnalysisPlan,
    statistics: pa.Table,
    assigned: Sequence[Mapping[str, Any]],
    quality: Sequence[Mapping[str, Any]] = (),
    pretrends: Sequence[Mapping[str, Any]] = (),
    deltas: Sequence[Mapping[str, Any]] = (),
    exposures: pa.Table | None = None,
) -> Answers:
    """All that J6, J7 and J8 would publish, as the memo reads it."""
    answer = analyze(statistics, hm.empty("gold.fct_experiment_panel_statistics"), plan, exposures)
    run = {"experiment_id": "exp_test", "dt": plan.dt, "run_id": "r", "code_version": "v", "computed_at": plan.cutoff}
    results = to_table(
        "exp.analysis_results", _tested(answer.results, pretrends), run | {"input_snapshots": "{}", "config_hash": "c"}
    )
    deciding, axes = deciding_rows(results), read_axes(statistics, plan.arms)
    groups = cubes(statistics, list(plan.metrics), axes)
    checks = validate(
        CheckInputs(plan, statistics, groups, axes, list(assigned), deciding, list(pretrends), exposures=exposures)
    )
    mode = plan.experiment.analysis_mode
    trust = trust_of(quality, checks, mode, plan.deciding_metrics, exploratory(plan))
    guardrails = guardrail_rows(deciding, plan)
    verdicts = decide(evidence(deciding, guardrails, list(pretrends), plan), trust, moment(plan))
    decisions = [
        {
            "variant_id": verdict.variant_id,
            "trust": trust.trust.value,
            "decision": verdict.decision.value,
            "reasons": list(verdict.reasons),
            "policy": DEFAULT.label,
        }
        for verdict in verdicts
    ]
    rows = results.to_pylist()
    return Answers(
        decisions=decisions,
        results=rows,
        guardrails=guardrails,
        checks=checks,
        quality=quality,
        pretrend_tests=pretrends,
        pretrend_deltas=deltas,
        looks=looks([row for row in rows if row["is_deciding"]], plan),
        ages=age_series(statistics, plan),
        units=units_series(assigned, plan),
        quality_days=exposure_quality_series(quality),
        data=data_section([], [], refused([], [], []), [], {}),
    )


def _tested(results: Frame, pretrends: Sequence[Mapping[str, Any]]) -> Frame:
    """The results without the word that nobody could test the trends, for the metrics whose tests passed."""
    passed = {row["metric_name"] for row in pretrends if row["verdict"] == "passed"}
    reasons = [
        ", ".join(word for word in reason.split(", ") if metric not in passed or word != NOT_TESTED)
        for metric, reason in zip(results["metric_name"], results["reason"], strict=True)
    ]
    return results | {"reason": np.array(reasons, dtype=object)}


def looks(rows: Sequence[Mapping[str, Any]], plan: AnalysisPlan, days: int = 12) -> list[dict[str, Any]]:
    """The deciding rows as if they had been published on each of the last days, wider the earlier they are."""
    ends = ("effect_abs_ci_low", "effect_abs_ci_high", "anytime_ci_low", "anytime_ci_high")
    found = []
    for row in rows:
        if row["effect_abs"] is None:
            continue
        for back in range(days):
            wider = (days / (days - back)) ** 0.5
            moved = {end: row["effect_abs"] + (row[end] - row["effect_abs"]) * wider for end in ends if row[end]}
            found.append(dict(row) | moved | {"dt": plan.dt - timedelta(days=back)})
    return found


def refused(dataset: list[str], rule: list[str], count: list[int]) -> pa.Table:
    """Rows of ops.quarantine."""
    columns = {"dataset": pa.array(dataset, pa.string()), "rule": pa.array(rule, pa.string())}
    return pa.table(columns | {"count": pa.array(count, pa.int64())})


def blocked() -> dict[str, Any]:
    """A run that a contract has blocked, on the day after a clear win."""
    last = win()
    why = {
        "since": "2026-02-05",
        "dt": "2026-02-05",
        "stage": "ingest_events",
        "run_id": "run_2",
        "sentence": "exp.outcomes: 1,234 rows have no user_id, at most 0 are allowed",
    }
    return blocked_content(None, "exp_test", last, why)  # type: ignore[arg-type]  # the project is asked without a last memo


def win(**keys: Any) -> dict[str, Any]:
    """A clear win at the planned end."""
    return kind(**({"lift": 0.04} | keys))


def rollout(verdict: str, tested: Sequence[str] = ("conversion", "latency"), **keys: Any) -> dict[str, Any]:
    """A rollout; the primary's trends before were tested with this verdict, those of other metrics passed."""
    verdicts = {metric: verdict if metric == "conversion" else "passed" for metric in tested}
    tests = [
        {
            "metric_name": metric,
            "variant_id": "treatment",
            "test": test,
            "statistic": 1.0,
            "p_value": p,
            "p_value_adjusted": p,
            "verdict": found,
            "reason": "",
        }
        for metric, found in verdicts.items()
        for test, p in (("slope", 0.4 if found == "passed" else 0.00001), ("joint", 0.6))
    ]
    rng = np.random.default_rng(5)
    drift = 0.0 if verdict == "passed" else 0.004
    deltas = [
        {
            "metric_name": "conversion",
            "variant_id": "treatment",
            "relative_day": day,
            "delta": (middle := drift * (day + 14) + rng.normal(0, 0.004)),
            "ci_low": middle - 0.01,
            "ci_high": middle + 0.01,
        }
        for day in range(-14, 0)
    ]
    return kind(design="rollout", lift=0.08, pretrends=tests, deltas=deltas, **keys)


def lost_exposures() -> list[dict[str, Any]]:
    """Verdicts on exposures by day: on three days a third was not logged."""
    rows = []
    for i in range(20):
        bad = i in (7, 8, 9)
        rate = 0.55 if bad else 0.84
        rows.append(
            {
                "check_name": "exposure_logging",
                "date": hm.FIRST_DAY + timedelta(days=i),
                "observed": rate + 0.002 * (i % 3),
                "expected": 0.84,
                "threshold": 0.756,
                "p_value": 1e-9 if bad else 0.6,
                "status": "fail" if bad else "ok",
                "detail": f"{rate:.2%} of 412 assigned users have an exposure, 84.10% on 17 other dates",
            }
        )
    return rows


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "win": win,
    "loss": lambda: kind(lift=-0.04),
    "flat": lambda: kind(users=50000, lift=0.0),
    "underpowered": lambda: kind(users=600),
    "early": lambda: kind(days=5, users=1500),
    "srm": lambda: kind(lift=0.04, extra=1600),
    "broken_exposure": lambda: kind(lift=0.04, quality=lost_exposures(), analysis_mode="exposed"),
    "guardrail_failed": lambda: kind(lift=0.04, harm=0.12),
    "failed_pretrends": lambda: rollout("failed"),
    "three_arms": lambda: kind(arms=("control", "blue", "green"), lift={"blue": 0.05, "green": -0.01}),
    "rollout": lambda: rollout("passed"),
    "blocked": blocked,
}


def _units(seed: int, users: int, arms: Sequence[str], days: int, extra: int, **keys: Any) -> hm.Units:
    """Users of each arm; `extra` further ones come to control."""
    units = hm.draw_units(seed, users, arms, days, **keys)
    if not extra:
        return units
    more = hm.draw_units(seed + 100, extra, arms[:1], days, **keys)
    both = {name: getattr(units, name) for name in ("arm", "day", "y", "pre", "country")}
    return hm.Units(**{name: np.concatenate([value, getattr(more, name)]) for name, value in both.items()})


HARMLESS = "🎉🧪 café שלום"
HOSTILE = (
    '<script>alert("x")</script> | *bold* `code` & co',
    "two\nlines\n# and a heading",
    "turned \u202eafter\u202c and \u2066isolated\u2069 \u200f",
    "bell \x07 and tab\t",
    "x" * 300,
    "| a | b |\n|---|---|",
    "</title></style></svg><img src=x onerror=alert(1)>",
)
