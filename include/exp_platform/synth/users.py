"""The users of a generated experiment: attributes, assignment time, arm, and time of the first exposure."""

from __future__ import annotations

import random

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from exp_platform.synth.generation import DAY, HOUR, SECOND, SynthPlan
from exp_platform.synth.random import KEY, exponential, normal, pick, threshold, uniform, user_key

WEEKDAY_WEIGHTS = (20, 21, 21, 20, 19, 15, 14)  # Monday to Sunday
NEW_SHARE = 0.30
VETERAN_SHARE = 0.15  # share of veterans, who have twice the history, among returning users
MEAN_EXPOSURE_LAG_HOURS = 3.0
MAX_EXPOSURE_LAG_HOURS = 20.0  # below the 24 hours after which a day's exposures are judged
ROLLOUT_SELECTION = 0.35  # correlation of treatment and propensity in a rollout, whose arms are not random
N_CLUSTERS = 40
CLUSTER_CORRELATION = 0.15

# Shares of each attribute's values; any other dimension has the values a, b and c.
ATTRIBUTES = {
    "country": {"DE": 0.35, "US": 0.25, "FR": 0.20, "GB": 0.12, "ES": 0.08},
    "platform": {"web": 0.45, "ios": 0.30, "android": 0.25},
}
OTHER_ATTRIBUTE = {"a": 0.5, "b": 0.3, "c": 0.2}


def users(spark: SparkSession, plan: SynthPlan) -> DataFrame:
    """One row per user; columns that begin with an underscore are not written to the raw zone."""
    ids = spark.range(0, plan.scenario.n_users, 1, plan.n_partitions)
    frame = ids.select(F.concat(F.lit(plan.user_prefix), F.col("id").cast("string")).alias("user_id"))
    frame = frame.withColumn(KEY, user_key(plan.seed, F.col("user_id")))
    frame = frame.select(
        "*",
        (uniform("is_new") < NEW_SHARE).alias("_is_new"),
        _assign_us(plan).alias("_assign_us"),
        (uniform("exposed") < plan.scenario.exposure_rate).alias("_is_exposed"),
    )
    frame = _with_propensity_and_variant(frame, plan)
    is_treated = F.col("variant") != plan.experiment.control.id
    veteran = uniform("veteran") < VETERAN_SHARE
    return frame.select(
        "*",
        is_treated.alias("_is_treated"),
        F.expr(f"int((_assign_us - {plan.start_us}L) div {DAY}L)").alias("_day"),
        F.when(F.col("_is_exposed"), _first_exposure_us(plan)).alias("_first_exposure_us"),
        F.when(F.col("_is_new"), F.lit(0))
        .when(veteran, F.lit(2 * plan.history_us))
        .otherwise(F.lit(plan.history_us))
        .cast("long")
        .alias("_history_us"),
    ).withColumn("_anchor_us", F.coalesce("_first_exposure_us", "_assign_us"))


def _assign_us(plan: SynthPlan) -> Column:
    """Assignment time: the day drawn by weekday weights, the time of day with a peak in the early afternoon."""
    first = plan.experiment.start_ts.weekday()
    slots = [day for day in range(plan.scenario.days) for _ in range(WEEKDAY_WEIGHTS[(first + day) % 7])]
    table = F.split(F.lit(",".join(map(str, slots))), ",")  # one literal, however many days
    day = F.element_at(table, F.floor(uniform("assignment/day") * len(slots)).cast("int") + 1).cast("long")
    time_of_day = (uniform("assignment/time/a") + uniform("assignment/time/b")) / 2
    shifted = F.pmod(time_of_day + F.lit(2 / 24), F.lit(1.0))
    return F.lit(plan.start_us) + day * DAY + F.floor(shifted * DAY)


def _first_exposure_us(plan: SynthPlan) -> Column:
    """First exposure: minutes to hours after assignment, in the exposure window and before the experiment ends."""
    lag = F.lit(30 * SECOND) + F.floor(exponential(MEAN_EXPOSURE_LAG_HOURS * HOUR, "exposure/lag"))
    hours = min(MAX_EXPOSURE_LAG_HOURS, plan.experiment.exposure_window_hours or MAX_EXPOSURE_LAG_HOURS)
    limit = F.least(F.lit(int(hours * HOUR)), F.lit(plan.end_us) - F.col("_assign_us"))
    squeezed = F.floor(uniform("exposure/squeezed") * limit)
    return F.col("_assign_us") + F.when(lag < limit, lag).otherwise(squeezed)


def _with_propensity_and_variant(frame: DataFrame, plan: SynthPlan) -> DataFrame:
    """Add `_propensity`, a standard normal number for how active a user is, and `variant`."""
    if plan.experiment.design == "rollout" and plan.experiment.cluster:
        return _clustered_rollout(frame, plan)
    frame = frame.withColumn("_propensity", normal("propensity"))
    draw = uniform("variant")
    if plan.experiment.design == "rollout":
        # Only returning users are selected by propensity: their activity does not change over time, so the arms' trends
        # stay parallel.
        selected = ROLLOUT_SELECTION * F.col("_propensity") + (1 - ROLLOUT_SELECTION**2) ** 0.5 * normal("variant")
        wanted = F.when(F.col("_is_new"), normal("variant")).otherwise(selected)
        is_treated = wanted > threshold(plan.scenario.treatment_share)
        share = plan.scenario.treatment_share
        draw = F.when(is_treated, uniform("variant/arm") * share).otherwise(1.0)
    return frame.withColumn("variant", _arm(plan, draw))


def _clustered_rollout(frame: DataFrame, plan: SynthPlan) -> DataFrame:
    """Treat whole clusters, preferably active ones; new users' propensity is independent of their cluster."""
    source = random.Random(f"{plan.seed}/{plan.experiment_id}/clusters")  # noqa: S311  generated data, no secret
    level = [source.gauss(0, 1) for _ in range(N_CLUSTERS)]
    wish = {c: level[c] + 2 * source.gauss(0, 1) for c in range(N_CLUSTERS)}
    ranked = sorted(wish, key=lambda c: wish[c], reverse=True)
    treated = ranked[: round(plan.scenario.treatment_share * N_CLUSTERS)]
    cluster = F.floor(uniform("cluster") * N_CLUSTERS).cast("int")
    frame = frame.withColumn("_cluster", cluster)
    shared = F.element_at(F.array(*[F.lit(x) for x in level]), F.col("_cluster") + 1)
    own = normal("propensity")
    rho = CLUSTER_CORRELATION
    mixed = F.when(F.col("_is_new"), own).otherwise((1 - rho) ** 0.5 * own + rho**0.5 * shared)
    share = plan.scenario.treatment_share
    draw = F.when(F.col("_cluster").isin(*treated), uniform("variant/arm") * share).otherwise(1.0)
    return frame.withColumn("_propensity", mixed).withColumn("variant", _arm(plan, draw))


def _arm(plan: SynthPlan, draw: Column) -> Column:
    """The arm whose share of [0, 1) contains the draw."""
    chosen = F.when(F.lit(False), F.lit(None).cast("string"))
    for variant, upper in plan.arms:
        chosen = chosen.when(draw < upper, variant)
    return chosen.otherwise(plan.experiment.control.id)


def attribute(plan: SynthPlan, dimension: str) -> Column:
    """A user's value of a dimension."""
    if dimension == "user_type":
        return F.when(F.col("_is_new"), "new").otherwise("returning")
    if dimension == plan.experiment.cluster and plan.experiment.design == "rollout":
        return F.format_string("c%02d", F.col("_cluster"))
    return pick(f"attribute/{dimension}", ATTRIBUTES.get(dimension, OTHER_ATTRIBUTE))


def dimensions(plan: SynthPlan) -> tuple[str, ...]:
    """Every dimension that users get: the generator's own, and those that the experiment names."""
    named = (*plan.experiment.dimensions, *((plan.experiment.cluster,) if plan.experiment.cluster else ()))
    return tuple(dict.fromkeys((*ATTRIBUTES, "user_type", *named)))
