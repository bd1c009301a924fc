"""Metrics of every kind and small awkward data for the spine's tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from exp_platform.config.models import Metric

START = datetime(2026, 1, 5, tzinfo=UTC)
END = datetime(2026, 1, 12, tzinfo=UTC)
CUTOFF = datetime(2026, 1, 11, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VARIANTS = ("control", "treatment")
SOURCES = ("a", "b")


def metric(name: str, kind: str, **more: Any) -> Metric:
    """A contract with a window of two days and a pre-period of three, unless told otherwise."""
    given = {"window": {"end_hours": 48}, "pre_period_days": 3, "source": None if kind == "ratio" else "a"} | more
    return Metric(name=name, version=1, description=name, owner="x", type=kind, direction="increase", **given)


METRICS = (
    metric("any_a", "binary"),
    metric("any_until_end", "binary", window={"end_hours": "experiment"}, pre_period_days=0),
    metric("count_b", "count", source="b"),
    metric("sum_a", "sum", cap={"quantile": 0.9}),
    metric("sum_a_truncated", "sum", window={"end_hours": 72, "truncate_at_end": True}, cap={"value": 3.5}),
    metric("sum_b_late", "sum", source="b", window={"start_hours": 24, "end_hours": 60.5}),
    metric("sum_b_never_capped", "sum", source="b", cap={"quantile": 0.0}),
    metric("mean_a", "mean", cap={"quantile": 0.75}),
    metric("max_a", "mean", aggregation="max", maturity="complete"),
    metric("last_b", "mean", aggregation="last", source="b"),
    metric("median_a", "quantile", quantile=0.5, cap={"value": 4.0}),
    metric("events_a", "quantile", quantile=0.9, level="event"),
    metric("back", "retention", source="b", window={"start_hours": 24, "end_hours": 48}),
    metric(
        "per_b", "ratio", cap={"quantile": 0.8}, numerator={"source": "a", "aggregation": "sum"},
        denominator={"source": "b", "aggregation": "count"},
    ),
)  # fmt: skip

# As covariates: a value that users may not have, a capped one, and one of two numbers.
NAMED = tuple(one for one in METRICS if one.name in ("max_a", "sum_a", "per_b"))
WITH_COVARIATES = metric("sum_b_named", "sum", source="b", covariates=tuple(one.name for one in NAMED)).with_covariates(
    NAMED
)


@dataclass
class Data:
    """Cohort rows and outcome events of one small experiment."""

    cohort: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)

    def unit(
        self, user: str, at: datetime, variant: str = "control", *, wait: timedelta = timedelta(0), **dimensions: str
    ) -> None:
        """An included unit, exposed `wait` after its assignment."""
        anchor = at + wait
        self.cohort.append(
            {"experiment_id": "exp_spine", "user_id": user, "variant_id": variant, "assignment_time_utc": at,
             "anchor_utc": anchor, "cohort_date": anchor.date(), "included": True, "exclusion_reason": None,
             "dimensions": list(dimensions.items())}
        )  # fmt: skip

    def excluded(self, user: str, at: datetime) -> None:
        """A unit that is not analysed."""
        self.unit(user, at)
        self.cohort[-1] |= {
            "included": False,
            "anchor_utc": None,
            "cohort_date": None,
            "exclusion_reason": "conflicted_assignment",
        }

    def event(self, user: str, at: datetime, value: float = 1.0, source: str = "a") -> None:
        """An outcome event; exact duplicates are gone before J4."""
        row = {"experiment_id": "exp_spine", "user_id": user, "metric_name": source, "value": value, "outcome_ts": at}
        if row not in self.outcomes:
            self.outcomes.append(row)

    def frames(self, spark: Any, partitions: int | None = None) -> tuple[Any, Any]:
        """Cohort and outcomes of the data as Spark frames."""
        cohort = spark.createDataFrame(pa.Table.from_pylist(self.cohort, COHORT))
        outcomes = spark.createDataFrame(pa.Table.from_pylist(self.outcomes, OUTCOMES))
        if partitions is not None:
            cohort, outcomes = cohort.repartition(partitions), outcomes.repartition(partitions)
        return cohort, outcomes

    def database(self, buckets: dict[str, int]) -> duckdb.DuckDBPyConnection:
        """A DuckDB database with cohort and outcomes of the data, and the unit buckets that Spark hashed."""
        db = duckdb.connect()
        cohort = pa.table(
            {
                "user_id": [r["user_id"] for r in self.cohort],
                "variant_id": [r["variant_id"] for r in self.cohort],
                "cohort_date": pa.array([r["cohort_date"] for r in self.cohort], pa.date32()),
                "included": [r["included"] for r in self.cohort],
                "a": pa.array([micros(r["assignment_time_utc"]) for r in self.cohort], pa.int64()),
                "c": pa.array([r["anchor_utc"] and micros(r["anchor_utc"]) for r in self.cohort], pa.int64()),
                "unit_bucket": pa.array([buckets.get(r["user_id"]) for r in self.cohort], pa.int32()),
            }
        )
        dims = pa.table(
            {
                "user_id": pa.array([r["user_id"] for r in self.cohort for _ in r["dimensions"]], pa.string()),
                "segment": pa.array([f"{k}={v}" for r in self.cohort for k, v in r["dimensions"]], pa.string()),
            }
        )
        outcomes = pa.table(
            {
                "user_id": pa.array([r["user_id"] for r in self.outcomes], pa.string()),
                "metric_name": pa.array([r["metric_name"] for r in self.outcomes], pa.string()),
                "value": pa.array([r["value"] for r in self.outcomes], pa.float64()),
                "t": pa.array([micros(r["outcome_ts"]) for r in self.outcomes], pa.int64()),
            }
        )
        for name, table in (("cohort", cohort), ("dims", dims), ("outcomes", outcomes)):
            db.register(f"{name}_arrow", table)
            db.execute(f"create table {name} as select * from {name}_arrow")
        return db


COHORT = pa.schema(
    [
        ("experiment_id", pa.string()),
        ("user_id", pa.string()),
        ("variant_id", pa.string()),
        ("assignment_time_utc", pa.timestamp("us", "UTC")),
        ("anchor_utc", pa.timestamp("us", "UTC")),
        ("cohort_date", pa.date32()),
        ("included", pa.bool_()),
        ("exclusion_reason", pa.string()),
        ("dimensions", pa.map_(pa.string(), pa.string())),
    ]
)
OUTCOMES = pa.schema(
    [
        ("experiment_id", pa.string()),
        ("user_id", pa.string()),
        ("metric_name", pa.string()),
        ("value", pa.float64()),
        ("outcome_ts", pa.timestamp("us", "UTC")),
    ]
)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)
