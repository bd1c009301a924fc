"""The plan of a generation: its inputs, with times in epoch microseconds, horizons in weeks, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from exp_platform.config.definition import WORDING
from exp_platform.config.models import Experiment, Fault, Metric, Scenario
from exp_platform.errors import ConfigError
from exp_platform.metrics.values import micros

GENERATOR_VERSION = 1  # raise it when the same seed gives other rows
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WEEK = 7 * DAY
MIN_DAYS_AFTER = 14


@dataclass(frozen=True)
class SynthPlan:
    """The inputs of one generation: experiment, scenario, metrics, seed and faults."""

    experiment: Experiment
    scenario: Scenario
    metrics: tuple[Metric, ...] = ()
    seed: int = 7
    faults: tuple[Fault, ...] = ()
    partitions: int | None = field(default=None, compare=False)  # None: chosen by the number of users

    def __post_init__(self) -> None:
        window_days = (self.experiment.end_ts - self.experiment.start_ts) / timedelta(days=1)
        if self.scenario.days > window_days:
            raise ConfigError(
                f"experiments: {self.experiment.experiment_id}: days: found {self.scenario.days}, but the experiment "
                f"runs {window_days:g} days (start_ts to end_ts); lower days or move end_ts"
            )

    @property
    def experiment_id(self) -> str:
        """The experiment that the events belong to."""
        return self.experiment.experiment_id

    @cached_property
    def start_us(self) -> int:
        """First instant of the experiment."""
        return micros(self.experiment.start_ts)

    @cached_property
    def end_us(self) -> int:
        """First instant after the experiment."""
        return micros(self.experiment.end_ts)

    @property
    def user_prefix(self) -> str:
        """Prefix of the user ids, different for every experiment."""
        return f"u{zlib.crc32(self.experiment_id.encode()):08x}_"

    @property
    def history_us(self) -> int:
        """Microseconds of history before assignment of a returning user; a veteran's history is twice as long."""
        return self.scenario.pre_period_days * DAY

    @cached_property
    def weeks_after(self) -> int:
        """Whole weeks of outcomes after the anchor, enough for every metric's window to close inside the data."""
        longest = max((self._end_days(m) for m in self.metrics), default=0)
        return math.ceil(max(longest, MIN_DAYS_AFTER) / 7)

    def _end_days(self, metric: Metric) -> float:
        if metric.window.end_hours == "experiment":
            return (self.end_us - self.start_us) / DAY
        return metric.window.end_hours / 24

    @property
    def weeks_before(self) -> int:
        """Weeks before assignment that the longest history, a veteran's, touches."""
        return math.ceil(2 * self.scenario.pre_period_days / 7)

    @cached_property
    def arms(self) -> tuple[tuple[str, float], ...]:
        """Treatment arms with the upper end of their share of [0, 1); the rest of the interval is the control's."""
        live, shares = self.experiment.treatments, self.experiment.shares
        total = sum(shares[v.id] for v in live)
        bounds, reached = [], 0.0
        for variant in live:
            reached += self.scenario.treatment_share * shares[variant.id] / total
            bounds.append((variant.id, reached))
        return tuple(bounds)

    @property
    def n_partitions(self) -> int:
        """Number of Spark partitions of the users; no generated row depends on it."""
        return self.partitions or max(2, math.ceil(self.scenario.n_users / 250_000))

    def fingerprint(self) -> dict[str, Any]:
        """All inputs that decide the generated rows, with their hash: equal hashes mean equal data."""
        registry = self.experiment.model_dump(
            mode="json",
            include={
                *("experiment_id", "start_ts", "end_ts", "design", "variants", "dimensions", "cluster"),
                *("assignment_source", "exposure_window_hours"),
            },
        )
        content = {
            "generator_version": GENERATOR_VERSION,
            "seed": self.seed,
            "scenario": self.scenario.model_dump(mode="json", exclude={"faults", "seed"}),
            "faults": [fault.model_dump(mode="json") for fault in self.faults],
            "registry": registry,
            "metrics": {m.name: m.model_dump(mode="json", exclude=WORDING) for m in self.metrics},
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return {"fingerprint": digest, **content}
