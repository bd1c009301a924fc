"""Metrics whose source has no event at all among the experiment's events: they have no answer, never a zero."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exp_platform.config.key_rules import suggest
from exp_platform.config.models import Metric
from exp_platform.results.checks import CheckInputs, check_row
from exp_platform.results.frame import Frame
from exp_platform.status import CheckStatus, ResultStatus

SOURCE_ABSENT = "source_absent"
NAMES_SHOWN = 8
# Columns of exp.analysis_results that say who was compared, and how; every other number would read as an answer.
_KEPT = frozenset({"metric_version", "control_n", "treatment_n", "alpha"})


@dataclass(frozen=True)
class Absent:
    """One metric without an event: its sources that are missing, and the names that outcome events have instead."""

    metric: str
    missing: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The problem for a person, with the names that were found."""
        return absent_sentence(self.missing, self.found)


def absent_sentence(missing: Sequence[str], found: Collection[str]) -> str:
    """Say which names no outcome event has, and which there are.

    >>> absent_sentence(["calls"], ["add_to_cart", "call"])
    "no outcome event has metric_name 'calls'; found add_to_cart, call; did you mean 'call'?"
    """
    names = sorted(found)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    wanted = " or ".join(f"'{name}'" for name in missing)
    shown = ", ".join(names[:NAMES_SHOWN]) or "none at all"
    return f"no outcome event has metric_name {wanted}; found {shown}{more}{suggest(missing[0], names)}"


def absent_metrics(
    statistics: pa.Table, metrics: Iterable[Metric], names_seen: Callable[[], Collection[str]]
) -> tuple[Absent, ...]:
    """The metrics with a source that no event has. `names_seen` is called only where all values of a metric are 0."""
    suspects = [metric for metric in metrics if not metric.may_be_absent and is_silent(statistics, metric)]
    if not suspects:
        return ()
    found = tuple(sorted(names_seen()))
    missing = {metric.name: tuple(name for name in metric.sources if name not in found) for metric in suspects}
    return tuple(Absent(name, names, found) for name, names in missing.items() if names)


def is_silent(statistics: pa.Table, metric: Metric) -> bool:
    """True when the sums of a metric show no event: then its source may be absent, or have only zeros."""
    rows = statistics.filter(pc.equal(statistics["metric_name"], metric.name))
    columns = ("y", "d") if metric.is_ratio else ("y",)
    silent = [not pc.any(pc.not_equal(rows[column], 0.0)).as_py() for column in columns]
    if metric.of_events or metric.leaves_users_out:
        return not pc.any(pc.greater(rows["n"], 0)).as_py() or all(silent)
    return any(silent)


def without_absent(results: Frame, absent: Sequence[Absent]) -> Frame:
    """The rows of exp.analysis_results, in which an absent metric has a reason instead of numbers."""
    if not absent:
        return results
    gone = np.isin(results["metric_name"].astype(str), [one.metric for one in absent])
    changed: Frame = {}
    for name, values in results.items():
        if name == "status":
            changed[name] = np.where(gone, ResultStatus.INSUFFICIENT_DATA.value, values)
        elif name == "reason":
            changed[name] = np.where(gone, SOURCE_ABSENT, values)
        elif name not in _KEPT and np.issubdtype(np.asarray(values).dtype, np.floating):
            changed[name] = np.where(gone, np.nan, values)
        else:
            changed[name] = values
    return changed


def absent_checks(inputs: CheckInputs) -> list[dict[str, Any]]:
    """One warning for each metric whose source is absent; none where every source has events."""
    return [
        check_row(SOURCE_ABSENT, CheckStatus.WARN, metric=one.metric, observed=0, detail=one.sentence)
        for one in inputs.absent
    ]


def digest_of(absent: Sequence[Absent]) -> Mapping[str, str]:
    """The absent sources as an input that identifies a publication; empty where there is none."""
    return {SOURCE_ABSENT: "; ".join(f"{one.metric}: {one.sentence}" for one in absent)} if absent else {}
