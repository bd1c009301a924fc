"""The sealed plan: what an experiment promised at its start, and what was changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from exp_platform.config import definition
from exp_platform.config.models import Acknowledgement, Exclusion, Experiment, Guardrail
from exp_platform.config.models.unusable import DAILY_CHECKS
from exp_platform.config.policy import Policy
from exp_platform.results.plan import AnalysisPlan, Promise

# Keys that a plan has only where something is in them.
ABSENT_IS_EMPTY = ("exclude", "acknowledge", "streams")
ALL_METRICS = "all metrics"
Content = Mapping[str, Any]  # a plan as JSON: keys, and below them values or further keys


@dataclass(frozen=True)
class Seal:
    """One row of ops.sealed_plan: the plan at the start (number 0), or an amendment of it."""

    number: int
    content: Content
    plan_hash: str
    sealed_at: datetime
    dt: date
    run_id: str
    started_by: str
    changes: tuple[str, ...]  # `key: from → to`, against the seal before
    effect: str | None  # on the verdict, as of the amendment's day; None until J8 has decided

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Seal:
        """The seal that a row of the table holds."""
        return cls(
            number=row["seal"],
            content=json.loads(row["plan"]),
            plan_hash=row["plan_hash"],
            sealed_at=row["sealed_at"],
            dt=row["dt"],
            run_id=row["run_id"],
            started_by=row["started_by"],
            changes=tuple(row["changes"]),
            effect=row["effect_on_verdict"],
        )

    @classmethod
    def unnumbered(cls, content: Content, sealed_at: datetime, dt: date, run_id: str, started_by: str) -> Seal:
        """The plan of a run, before it is known whether it is the first seal, an amendment or nothing new."""
        return cls(0, content, hash_of(content), sealed_at, dt, run_id, started_by, (), None)

    def row(self, experiment_id: str) -> dict[str, Any]:
        """The seal as a row of the table."""
        return {
            "experiment_id": experiment_id,
            "seal": self.number,
            "plan": text_of(self.content),
            "plan_hash": self.plan_hash,
            "sealed_at": self.sealed_at,
            "dt": self.dt,
            "run_id": self.run_id,
            "started_by": self.started_by,
            "changes": list(self.changes),
            "effect_on_verdict": self.effect,
        }


def content_of(plan: AnalysisPlan, policy: Policy) -> dict[str, Any]:
    """Everything that a team fixes before data come, by name; the order of metrics and arms is no part of it."""
    e, primary = plan.experiment, plan.primary
    content = {
        "hypothesis": e.hypothesis,
        "primary_metric": e.primary_metric,
        "scale": primary.decision_scale if primary else None,
        "practical_threshold": primary.practical_threshold if primary else None,
        "guardrails": {g.metric: _margin(g) for g in e.guardrails},
        "alpha": e.alpha,
        "start_ts": _instant(e.start_ts),
        "end_ts": _instant(e.end_ts),
        "planned_end": _instant(plan.planned_end),
        "planned_users": e.planned_users,
        "min_units": e.min_units,
        "design": e.design,
        "analysis_mode": e.analysis_mode,
        "decision_method": e.method_in_force,
        "arms": {arm.id: arm.allocation for arm in e.variants},
        "metrics": {metric.name: metric.version for metric in plan.metrics},
        "policy": policy.model_dump(mode="json", exclude={"description"}),
    }
    sometimes = _unusable(e) | {"streams": {dataset: ", ".join(sorted(names)) for dataset, names in e.streams.items()}}
    return content | {key: value for key, value in sometimes.items() if value}


def text_of(content: Content) -> str:
    """A plan as text: equal plans give equal bytes."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def hash_of(content: Content) -> str:
    """Hash of a plan, by which two memos can be seen to stand on the same one."""
    return hashlib.sha256(text_of(content).encode()).hexdigest()[:16]


def differences(before: Content, after: Content) -> tuple[str, ...]:
    """Each change of a plan as `key: from → to`, by key.

    A key that one of the plans does not know is no change: another version of the code sealed other keys. A plan
    without one of ABSENT_IS_EMPTY has nothing there, whatever the version.
    """
    before, after = whole(before), whole(after)
    known = before.keys() & after.keys()
    old, new = ({key: content[key] for key in known if content[key] is not None} for content in (before, after))
    return tuple(definition.differences(old, new))


def changed_keys(before: Content, after: Content) -> tuple[str, ...]:
    """The keys of a plan under which something differs."""
    before, after = whole(before), whole(after)
    return tuple(sorted(key for key in before.keys() & after.keys() if before[key] != after[key]))


def whole(content: Content) -> Content:
    """A plan with every key of ABSENT_IS_EMPTY."""
    return {key: {} for key in ABSENT_IS_EMPTY} | dict(content)


def acknowledged_in(content: Content) -> tuple[Acknowledgement, ...]:
    """The acknowledgements of a plan, to decide by it once more; who gave them and why is no part of deciding."""
    found = []
    for key in content.get("acknowledge", {}):
        check, _, subject = key.partition(" ")
        of_day = check in DAILY_CHECKS
        metric = None if of_day or subject == ALL_METRICS else subject
        dates = (date.fromisoformat(subject),) if of_day else ()
        found.append(Acknowledgement(check=check, metric=metric, dates=dates, reason="", by=""))
    return tuple(found)


def next_seal(present: Sequence[Seal], wanted: Seal, *, sees_start: bool, is_backfill: bool) -> Seal | None:
    """The seal that a run adds to the present ones; None where it adds none.

    The first run that sees the start of the experiment seals the plan. Later ones add an amendment where their plan
    differs from the last seal. A run for an earlier day adds none: its row would tell of a change on a day on which the
    plan was still another one, and an old configuration that is run again is no new choice.
    """
    if not present:
        return wanted if sees_start else None
    last = present[-1]
    changes = differences(last.content, wanted.content)
    if not changes or is_backfill or wanted.dt < last.dt:
        return None
    return replace(wanted, number=last.number + 1, changes=changes)


def promise_of(content: Content) -> Promise:
    """The parts of a sealed plan that bind later runs."""
    return Promise(
        primary_metric=content["primary_metric"],
        end_ts=datetime.fromisoformat(content["end_ts"]),
        planned_end=datetime.fromisoformat(content["planned_end"]),
        planned_users=content["planned_users"],
    )


def _unusable(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Each excluded date and each acknowledged check of a date or metric, with its reason and who gave it."""
    return {
        "exclude": {f"{one.what} {day}": _why(one) for one in experiment.exclude for day in one.dates},
        "acknowledge": {
            f"{one.check} {subject}": _why(one)
            for one in experiment.acknowledge
            for subject in (one.dates or (one.metric or ALL_METRICS,))
        },
    }


def _why(one: Exclusion | Acknowledgement) -> str:
    return f"{one.reason} ({one.by})"


def _margin(guardrail: Guardrail) -> dict[str, float]:
    kind = "max_relative_harm" if guardrail.max_absolute_harm is None else "max_absolute_harm"
    return {kind: guardrail.margin}


def _instant(value: datetime) -> str:
    """An instant in UTC as registry files write it."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
