"""The deciding numbers along a chain of computed runs: what each step has moved them by adds up exactly.

A number of a run is a double, and a part is the exact difference of two doubles, kept as a fraction. The parts of a
number therefore add up to the whole change without rounding, whatever their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from exp_platform.results.plan import Interval, in_force

Part = Literal["code", "settings", "definition", "late", "restated", "days"]
PARTS: tuple[Part, ...] = ("code", "settings", "definition", "late", "restated", "days")  # the order of the chain
Figure = Literal["effect", "low", "high", "p_value", "users"]
FIGURES: tuple[Figure, ...] = ("effect", "low", "high", "p_value", "users")
Key = tuple[str, str]  # metric, arm
ALL = "all"


@dataclass(frozen=True)
class Level:
    """The deciding numbers of one arm on one metric, on the metric's decision scale; None where there is no answer."""

    effect: float | None
    low: float | None  # ends of the interval in force
    high: float | None
    p_value: float | None  # of the interval in force
    users: float | None  # with a value, control and treatment together
    status: str


@dataclass(frozen=True)
class Numbers:
    """The deciding numbers of one run, published or computed in a scratch lake."""

    levels: Mapping[Key, Level]
    decisions: Mapping[str, str]  # arm, or `all` -> decision
    trust: str
    guardrails: Mapping[Key, str]  # metric, arm -> status
    interval: Interval  # the one in force

    @classmethod
    def of(
        cls,
        results: Sequence[Mapping[str, Any]],
        decisions: Sequence[Mapping[str, Any]],
        guardrails: Sequence[Mapping[str, Any]],
        scales: Mapping[str, Literal["absolute", "relative"]],
    ) -> Numbers:
        """The numbers from a run's published rows; `scales` has the metrics to take, with the scale to take them on."""
        summary = next(row for row in decisions if row["variant_id"] == ALL)
        interval: Interval = summary["interval_in_force"]
        return cls(
            levels={
                (row["metric_name"], row["variant_id"]): _level(row, in_force(interval, scales[row["metric_name"]]))
                for row in results
                if row["is_deciding"] and row["metric_name"] in scales
            },
            decisions={row["variant_id"]: row["decision"] for row in decisions},
            trust=summary["trust"],
            guardrails={(row["metric_name"], row["variant_id"]): row["status"] for row in guardrails},
            interval=interval,
        )

    def level(self, key: Key, figure: Figure) -> float | None:
        """One number; None where the run has none."""
        return getattr(self.levels[key], figure) if key in self.levels else None

    @property
    def words(self) -> dict[str, str]:
        """All that is decided in words, by what it is about."""
        return {
            "trust": self.trust,
            "interval in force": self.interval,
            **{f"decision on {arm}" if arm != ALL else "decision": word for arm, word in self.decisions.items()},
            **{f"guardrail {metric}, {arm}": word for (metric, arm), word in self.guardrails.items()},
            **{f"status of {metric}, {arm}": level.status for (metric, arm), level in self.levels.items()},
        }


@dataclass(frozen=True)
class Change:
    """One number that a part has moved: by so much, or None where a side has no number."""

    part: Part
    by: Fraction | None


@dataclass(frozen=True)
class Chain:
    """Runs from the one to be explained from to the one to be explained, each with the part that leads to it.

    `code` may lead to two of them: from the first run to the same run by today's code, and at the end from today's code
    to that of the last run. A part that does not differ leads to the numbers before it.
    """

    first: Numbers
    then: tuple[tuple[Part, Numbers], ...]

    @property
    def last(self) -> Numbers:
        """The numbers of the run at the end."""
        return self.then[-1][1] if self.then else self.first

    @property
    def subjects(self) -> tuple[Key, ...]:
        """Every metric and arm of the first or the last run."""
        return tuple(dict.fromkeys((*self.last.levels, *self.first.levels)))

    def changes(self, key: Key, figure: Figure) -> tuple[Change, ...]:
        """The change of one number by every part, in their order; they add up to `total` exactly."""
        sums: dict[Part, Fraction | None] = dict.fromkeys(PARTS, Fraction(0))
        for part, before, after in self._steps():
            step, so_far = difference(before.level(key, figure), after.level(key, figure)), sums[part]
            sums[part] = None if step is None or so_far is None else so_far + step
        return tuple(Change(part, sums[part]) for part in PARTS)

    def total(self, key: Key, figure: Figure) -> Fraction | None:
        """The whole change of one number; None where a side has no number."""
        return difference(self.first.level(key, figure), self.last.level(key, figure))

    def levels(self, key: Key, figure: Figure) -> tuple[float | None, ...]:
        """The number at the start and after each step."""
        return tuple(numbers.level(key, figure) for numbers in (self.first, *(after for _, after in self.then)))

    def turns(self) -> Iterator[tuple[Part, str, str, str]]:
        """Each word that a part has turned: part, what it is about, before, after."""
        for part, before, after in self._steps():
            old, new = before.words, after.words
            for about in dict.fromkeys((*old, *new)):
                if old.get(about) != new.get(about):
                    yield part, about, old.get(about, "none"), new.get(about, "none")

    def _steps(self) -> Iterator[tuple[Part, Numbers, Numbers]]:
        before = self.first
        for part, after in self.then:
            yield part, before, after
            before = after


def difference(before: float | None, after: float | None) -> Fraction | None:
    """The exact difference of two doubles; 0 where both sides have no number, None where one of them has none.

    >>> difference(0.1, 0.3) == Fraction(0.3) - Fraction(0.1), difference(None, None), difference(None, 1.0)
    (True, Fraction(0, 1), None)
    """
    if before is None or after is None:
        return Fraction(0) if before is after else None
    return Fraction(after) - Fraction(before)


def shown(values: Sequence[float | None], decimals: int) -> tuple[float | None, ...]:
    """Levels rounded for a table: as each part is the difference of two of them, the parts shown add up as well."""
    return tuple(None if value is None else round(value, decimals) for value in values)


def _level(row: Mapping[str, Any], columns: Mapping[str, str]) -> Level:
    users = None if row["control_n"] is None else float(row["control_n"] + (row["treatment_n"] or 0))
    return Level(
        effect=row[columns["effect"]],
        low=row[columns["low"]],
        high=row[columns["high"]],
        p_value=row[columns["p"]],
        users=users,
        status=row["status"],
    )
