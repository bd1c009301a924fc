"""Alerts: each reports one fault of one experiment as of one dt, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from exp_platform.config.models import Experiment
from exp_platform.decision.acknowledged import counted
from exp_platform.decision.trust import exposures_failed, sample_ratio_failed
from exp_platform.errors import cause_first
from exp_platform.status import CheckStatus, GuardrailStatus

Row = Mapping[str, Any]
RECENT = timedelta(days=2)  # a failed check that costs no trust is reported for so long


class Kind(StrEnum):
    """The kinds of alerts."""

    GUARDRAIL_FAILED = "guardrail_failed"
    SRM_FAILED = "srm_failed"
    QUALITY_FAILED = "quality_failed"
    CONTRACT_BROKEN = "contract_broken"
    RUN_CRASHED = "run_crashed"
    CONFIG_REFUSED = "config_refused"
    SECOND_OPINION_DIFFERS = "second_opinion_differs"


@dataclass(frozen=True)
class Alert:
    """One alert per experiment × dt × kind × subject × verdict_hash."""

    experiment_id: str
    dt: date
    kind: Kind
    subject: str  # metric/arm, check, or stage
    sentence: str  # what a person reads first
    facts: dict[str, str] = field(default_factory=dict)  # name -> value as shown

    @property
    def verdict_hash(self) -> str:
        """Hash of the message: an equal verdict on the same day is the same alert, whichever run finds it."""
        content = json.dumps([self.sentence, sorted(self.facts.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def key(self) -> dict[str, Any]:
        """The columns that identify the alert."""
        return {
            "experiment_id": self.experiment_id,
            "dt": self.dt,
            "kind": self.kind.value,
            "subject": self.subject,
            "verdict_hash": self.verdict_hash,
        }


def verdict_alerts(
    experiment: Experiment, dt: date, guardrails: Iterable[Row], validation: Iterable[Row], quality: Iterable[Row]
) -> list[Alert]:
    """The alerts on failed guardrails, SRM checks and quality checks of one dt, from the rows of its run."""
    return [
        *(_guardrail(experiment, dt, row) for row in guardrails if row["status"] == GuardrailStatus.FAIL),
        *(_srm(experiment, dt, row) for row in validation if sample_ratio_failed(row)),
        *_quality(experiment, dt, counted(quality, experiment.acknowledge)),
    ]


def contract_alert(experiment_id: str, dt: date, stage: str, sentence: str) -> Alert:
    """The alert that a broken contract blocked a stage."""
    return Alert(experiment_id, dt, Kind.CONTRACT_BROKEN, stage, first_line(cause_first(sentence)), {"stage": stage})


def crash_alert(experiment_id: str, dt: date, stage: str, sentence: str) -> Alert:
    """The alert that a stage failed after its retries."""
    return Alert(experiment_id, dt, Kind.RUN_CRASHED, stage, first_line(cause_first(sentence)), {"stage": stage})


def config_alert(experiment_id: str, dt: date, subject: str, sentence: str) -> Alert:
    """The alert that a file of configuration is refused, so that the experiment cannot be analysed."""
    return Alert(experiment_id, dt, Kind.CONFIG_REFUSED, subject, first_line(cause_first(sentence)), {})


def second_opinion_alert(experiment_id: str, dt: date, metrics: Iterable[str], sentence: str, example: str) -> Alert:
    """The alert that published numbers came out otherwise when a second implementation computed them."""
    names = ", ".join(metrics)
    facts = {"metrics": names, "first": first_line(example)}
    said = f"{sentence}: the result is not to be trusted"
    return Alert(experiment_id, dt, Kind.SECOND_OPINION_DIFFERS, first_line(names), said, facts)


def first_line(text: str) -> str:
    """The first line of a text, cut to 500 characters."""
    line = text.strip().splitlines()[0] if text.strip() else "no message"
    return line if len(line) <= 500 else f"{line[:499]}…"


def percent(value: float | None) -> str:
    """A fraction in percent with its sign."""
    return "unknown" if value is None else f"{value:+.2%}"


def harm(value: float | None, row: Row) -> str:
    """Harm of a guardrail row in the unit of its margin: a share of control's level, or the metric's own."""
    return percent(value) if row.get("margin_kind") != "absolute" else _number(value)


def _guardrail(experiment: Experiment, dt: date, row: Row) -> Alert:
    facts = {
        "metric": row["metric_name"],
        "arm": row["variant_id"],
        "effect": percent(row["effect_rel"]),
        "bound": f"harm up to {harm(row['bound'], row)}",
        "allowed harm": harm(row["margin"], row),
    }
    subject = f"{row['metric_name']}/{row['variant_id']}"
    sentence = (
        f"{row['metric_name']} is harmed in {row['variant_id']} by more than the {harm(row['margin'], row)} allowed"
    )
    return Alert(experiment.experiment_id, dt, Kind.GUARDRAIL_FAILED, subject, sentence, facts)


def _srm(experiment: Experiment, dt: date, row: Row) -> Alert:
    facts = {"check": row["check_name"], "p": f"{row['p_value']:.2g}", "units": row["detail"]}
    sentence = "the arms do not have the sizes that the registry promises: the result is not to be trusted"
    return Alert(experiment.experiment_id, dt, Kind.SRM_FAILED, row["check_name"], sentence, facts)


def _quality(experiment: Experiment, dt: date, rows: Iterable[Row]) -> list[Alert]:
    """One alert per failed check; a check that costs no trust is reported only while its failure is recent."""
    failed: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == CheckStatus.FAIL:
            failed.setdefault(row["check_name"], []).append(row)
    alerts = []
    for name, found in sorted(failed.items()):
        gates = any(exposures_failed(row, experiment.analysis_mode) for row in found)
        days = sorted(row["date"] for row in found)
        if not gates and days[-1] < dt - RECENT:
            continue
        cost = "the result is not to be trusted" if gates else "caution with the result"
        last = max(found, key=lambda row: row["date"])
        facts = {
            "check": name,
            "days": str(days[0]) if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}",
            f"on {last['date']}": f"{_number(last['observed'])}, expected {_number(last['expected'])}",
        }
        sentence = f"the check {name} failed: {cost}"
        alerts.append(Alert(experiment.experiment_id, dt, Kind.QUALITY_FAILED, name, sentence, facts))
    return alerts


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
