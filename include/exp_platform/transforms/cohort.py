"""J4, first half: the cohort, that is which users are analysed, from which anchor on, and why others are excluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.config.models import Experiment
from exp_platform.transforms.excluded import exposure_unknown, lies_on
from exp_platform.transforms.exposures import EXCLUDED_DATE
from exp_platform.transforms.first_reason import first_reason

USER = ["experiment_id", "user_id"]
_NOBODY_HAS_ANY = "nobody_has_any"


@dataclass(frozen=True)
class Unusable:
    """The dates of an experiment whose assignments or exposures can't be used, and the ends of exposure windows."""

    end_ts: datetime
    exposure_window_hours: int | None
    assignments: Sequence[date] = ()
    exposures: Sequence[date] = ()

    @classmethod
    def of(cls, experiment: Experiment) -> Unusable | None:
        """The experiment's own; None where it excludes neither assignments nor exposures."""
        assignments, exposures = experiment.excluded("assignments"), experiment.excluded("exposures")
        if not assignments and not exposures:
            return None
        return cls(experiment.end_ts, experiment.exposure_window_hours, assignments, exposures)

    @property
    def exposure_unknown(self) -> Column:
        """True for a user who may have been exposed first on an excluded date."""
        return exposure_unknown(self.exposures, end_ts=self.end_ts, exposure_window_hours=self.exposure_window_hours)


def experiment_cohort(
    assignments: DataFrame,
    validation: DataFrame,
    *,
    analysis_mode: Literal["itt", "exposed"],
    attributes: DataFrame | None = None,
    dimensions: Sequence[str] = (),
    unusable: Unusable | None = None,
) -> DataFrame:
    """One row per experiment × user with a canonical assignment: included, or with the first reason for exclusion.

    `assignments` is silver.fact_assignment_canonical, `validation` silver.int_experiment_exposure_validation (read in
    exposed mode only), `attributes` exp.attributes. The anchor is the assignment (itt) or the first valid exposure
    (exposed); an excluded user has neither anchor nor cohort date. A user who was assigned on an excluded date, or in
    exposed mode may first have been exposed on one, has the reason `excluded_date`.
    """
    conditions = {
        "conflicted_assignment": F.col("is_conflicted"),
        "assignment_outside_window": F.col("is_outside_window"),
    }
    if unusable is not None:
        conditions[EXCLUDED_DATE] = lies_on(F.col("assignment_time_utc"), unusable.assignments)
    if analysis_mode == "itt":
        units = assignments.withColumn("anchor", F.col("assignment_time_utc"))
    else:
        exposed = validation.select(*USER, "multi_variation_exposure", "is_valid_exposed", "first_valid_exposure_utc")
        units = assignments.join(exposed, USER, "left").withColumn("anchor", F.col("first_valid_exposure_utc"))
        if unusable is not None:
            conditions[EXCLUDED_DATE] = conditions[EXCLUDED_DATE] | unusable.exposure_unknown
        conditions |= {
            "multi_variation_exposure": F.coalesce(F.col("multi_variation_exposure"), F.lit(False)),
            "not_exposed": ~F.coalesce(F.col("is_valid_exposed"), F.lit(False)),
        }
    units = units.withColumn("exclusion_reason", first_reason(conditions))
    units = _with_dimensions(units, assignments, attributes, dimensions)
    included = F.col("exclusion_reason").isNull()
    anchor = F.when(included, F.col("anchor"))
    return units.select(
        *USER,
        "variant_id",
        "assignment_time_utc",
        anchor.alias("anchor_utc"),
        anchor.cast("date").alias("cohort_date"),
        included.alias("included"),
        "exclusion_reason",
        "dimensions",
    )


def dimensions_at_assignment(assignments: DataFrame, attributes: DataFrame, dimensions: Sequence[str]) -> DataFrame:
    """One row per experiment × user with any known dimension; the map `dimensions` holds those known at assignment.

    The latest attribute_ts at or before the assignment wins; at equal times the larger value. A later attribute is left
    out, because an attribute learnt after randomisation may depend on the variant.
    """
    known = attributes.where(F.col("dimension").isin(*dimensions)).join(
        assignments.select(*USER, "assignment_time_utc"), USER, "inner"
    )
    known = known.where(F.col("attribute_ts") <= F.col("assignment_time_utc"))
    latest = F.struct(F.col("attribute_ts"), F.col("value"))
    ordered = sorted(set(dimensions))
    columns = [F.max(F.when(F.col("dimension") == name, latest)).alias(f"latest_{i}") for i, name in enumerate(ordered)]
    entries = [
        F.when(
            F.col(f"latest_{i}").isNotNull(),
            F.struct(F.lit(name).alias("key"), F.col(f"latest_{i}.value").alias("value")),
        )
        for i, name in enumerate(ordered)
    ]
    return (
        known.groupBy(*USER)
        .agg(*columns)
        .select(*USER, F.map_from_entries(F.array_compact(F.array(*entries))).alias("dimensions"))
    )


def without_dimensions(units: DataFrame) -> DataFrame:
    """The units with a constant empty map as dimensions, so that the stored maps need not be read."""
    return units.withColumn("dimensions", no_dimensions()).withMetadata("dimensions", {_NOBODY_HAS_ANY: True})


def no_dimensions() -> Column:
    """A constant empty map of dimensions."""
    return F.from_json(F.lit("{}"), "map<string,string>")


def has_dimensions(units: DataFrame) -> bool:
    """True when a unit may have a dimension; False for a frame from `without_dimensions`."""
    return _NOBODY_HAS_ANY not in units.schema["dimensions"].metadata


def dimension_names(units: DataFrame) -> tuple[str, ...]:
    """Sorted names of the dimensions that any included unit has; each gets a column, as maps can't be grouped by."""
    if not has_dimensions(units):
        return ()
    names = units.where("included").select(F.explode(F.map_keys("dimensions")).alias("name")).distinct().collect()
    return tuple(sorted(row["name"] for row in names))


def dimension_columns(names: Sequence[str]) -> list[Column]:
    """Columns `d0`, `d1`, …: a unit's value of each dimension, null where it is unknown."""
    return [F.col("dimensions")[name].alias(f"d{i}") for i, name in enumerate(names)]


def dimensions_of(names: Sequence[str]) -> list[str]:
    """Names of the columns that `dimension_columns` makes."""
    return [f"d{i}" for i in range(len(names))]


def _with_dimensions(
    units: DataFrame, assignments: DataFrame, attributes: DataFrame | None, dimensions: Sequence[str]
) -> DataFrame:
    if attributes is None or not dimensions:
        return without_dimensions(units)
    known = dimensions_at_assignment(assignments, attributes, dimensions)
    return units.join(known, USER, "left").withColumn("dimensions", F.coalesce(F.col("dimensions"), no_dimensions()))
