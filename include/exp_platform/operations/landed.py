"""The events that landed between two runs for days that the first run had seen: late ones, and those of read files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from exp_platform.lake.tables import TABLES
from exp_platform.schemas import event_time_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Kind = Literal["late", "restated"]


@dataclass(frozen=True)
class Landed:
    """Events of one source and one day that the second run has and the first has not, or the other way round."""

    kind: Kind
    dataset: str
    source: str  # metric_name or dimension; of assignments and exposures the arm
    day: date  # on which they happened
    added: int
    gone: int

    @property
    def text(self) -> str:
        """The events as a phrase for people."""
        counts = [f"{self.added:,} more"] if self.added else []
        counts += [f"{self.gone:,} fewer"] if self.gone else []
        if self.kind == "late":
            counts = [f"{self.added:,} late"]
        return f"{' and '.join(counts)} {self.dataset} of {self.source} on {self.day}"


@dataclass(frozen=True, eq=False)
class Landing:
    """The events of one table that landed between two runs."""

    found: tuple[Landed, ...]
    late: DataFrame  # the events of files that the first run had not read, whenever they happened


def landing(table: str, before: DataFrame, after: DataFrame, cutoff: datetime) -> Landing:
    """Compare the events of one table; only those before the first run's cut-off are found, as it saw no others."""
    from pyspark.sql import functions as F

    grain, dataset = TABLES[table].grain, table.removeprefix("exp.").removeprefix("stream_")
    read = before.select(F.col("source_file").alias("_read")).distinct()
    added = _without(after, before, grain).join(F.broadcast(read), F.col("source_file") == F.col("_read"), "left")
    is_late, time = F.col("_read").isNull(), F.col(event_time_column(dataset))
    about = (_named(dataset), F.to_date(time).alias("day"))
    seen = time < F.lit(cutoff)
    changes = (
        added.where(seen)
        .select(is_late.alias("late"), *about, F.lit(1).alias("added"), F.lit(0).alias("gone"))
        .unionByName(
            _without(before, after, grain)
            .where(seen)
            .select(F.lit(False).alias("late"), *about, F.lit(0).alias("added"), F.lit(1).alias("gone"))
        )
    )
    counted = changes.groupBy("late", "source", "day").agg(F.sum("added").alias("added"), F.sum("gone").alias("gone"))
    rows = sorted(counted.collect(), key=lambda row: (not row["late"], row["day"], row["source"]))
    found = tuple(
        Landed("late" if r["late"] else "restated", dataset, r["source"], r["day"], r["added"], r["gone"]) for r in rows
    )
    return Landing(found, added.where(is_late).drop("_read"))


def _without(rows: DataFrame, others: DataFrame, grain: tuple[str, ...]) -> DataFrame:
    """Rows whose grain is in none of the others."""
    from functools import reduce

    renamed = others.select(*(others[column].alias(f"_{column}") for column in grain))
    same: list[Column] = [rows[column].eqNullSafe(renamed[f"_{column}"]) for column in grain]
    return rows.join(renamed, reduce(lambda a, b: a & b, same), "left_anti")


def _named(dataset: str) -> Column:
    from pyspark.sql import functions as F

    column = {"outcomes": "metric_name", "attributes": "dimension"}.get(dataset, "variant")
    return F.col(column).alias("source")
