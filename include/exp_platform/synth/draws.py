"""The events of generated users, as Spark expressions; outcomes are drawn for two worlds, control and treatment."""

from __future__ import annotations

import math

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.synth.generation import DAY, HOUR, SECOND, WEEK, SynthPlan
from exp_platform.synth.random import normal, threshold, uniform
from exp_platform.synth.users import attribute, dimensions

CONVERSION_CORRELATION = 0.6  # between a user's weeks, through the user's propensity
ORDER_VALUE_CORRELATION = 0.5
SESSION_CORRELATION = 0.35  # between a user's days
ACTIVE_DAY_RATE = 0.20
SECOND_SESSION_RATE = 0.30
LATENCY_MS = 240.0
LATENCY_SPREAD = (0.25, 0.35)  # between users, within a user; on the log scale
MOBILE_SLOWDOWN = 1.2
REFUND_RATE = 0.08  # share of orders that are refunded
SWITCH_RATE = 0.03  # share of iOS users who change their platform after the assignment

# Columns that every event carries for the faults and the true effects; they are not written to the raw zone.
HIDDEN = ("_key", "_day", "_is_treated", "_assign_us", "_first_exposure_us")


def assignments(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """One assignment event per user."""
    return users.select(
        *HIDDEN,
        F.lit(plan.experiment_id).alias("experiment_id"),
        "user_id",
        "variant",
        F.timestamp_micros("_assign_us").alias("assignment_ts"),
        F.lit("user").alias("unit"),
    )


def exposures(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """One to four exposure events per exposed user, the later ones logged by session; none after the window."""
    draw = uniform("exposure/count")
    further = F.when(draw < 0.4, 0).when(draw < 0.7, 1).when(draw < 0.9, 2).otherwise(3)
    seen = users.where("_is_exposed").withColumn("_k", F.explode(F.sequence(F.lit(0), further)))
    later = F.floor((F.col("_k") - 0.5 + 0.9 * uniform("exposure/gap", F.col("_k"))) * (20 * HOUR))
    at = F.col("_first_exposure_us") + F.when(F.col("_k") == 0, 0).otherwise(later)
    open_until = F.lit(plan.end_us)
    if plan.experiment.exposure_window_hours is not None:
        window = int(plan.experiment.exposure_window_hours * HOUR)
        open_until = F.least(open_until, F.col("_assign_us") + window)
    return (
        seen.withColumn("_at", at)
        .where((F.col("_k") == 0) | (F.col("_at") < open_until))
        .select(
            *HIDDEN,
            F.lit(plan.experiment_id).alias("experiment_id"),
            "user_id",
            "variant",
            F.timestamp_micros("_at").alias("exposure_ts"),
            F.when(F.col("_k") == 0, "user").otherwise("session").alias("unit"),
        )
    )


def attributes(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """Each user's attributes, known before the assignment; a few users change platform afterwards."""
    known = F.when(F.col("_is_new"), F.col("_assign_us") - 60 * SECOND).otherwise(
        F.least(F.lit(plan.start_us), F.col("_assign_us")) - DAY
    )
    rows = [
        F.struct(F.lit(name).alias("dimension"), attribute(plan, name).alias("value"), known.alias("_at"))
        for name in dimensions(plan)
    ]
    switched = F.col("_assign_us") + F.floor(uniform("attribute/switch/time") * WEEK) + SECOND
    switch = F.struct(F.lit("platform").alias("dimension"), F.lit("android").alias("value"), switched.alias("_at"))
    switches = (uniform("attribute/switch") < SWITCH_RATE) & (attribute(plan, "platform") == "ios")
    each = F.array(*rows)
    return users.select(
        *HIDDEN, "user_id", F.inline(F.when(switches, F.concat(each, F.array(switch))).otherwise(each))
    ).select(
        *HIDDEN,
        F.lit(plan.experiment_id).alias("experiment_id"),
        "user_id",
        "dimension",
        "value",
        F.timestamp_micros("_at").alias("attribute_ts"),
    )


def outcome_candidates(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """Outcome events of both worlds: `_control` and `_treated` hold the values, null where an event does not happen."""
    return _orders(users, plan).unionByName(_visits(users, plan)).unionByName(_first_visits(users))


def outcomes(candidates: DataFrame, plan: SynthPlan) -> DataFrame:
    """The outcome events of the world that each user is in: treatment for treated users, else control."""
    value = F.when(F.col("_is_treated"), F.col("_treated")).otherwise(F.col("_control"))
    return (
        candidates.withColumn("value", value)
        .where(F.col("value").isNotNull())
        .select(
            *HIDDEN,
            F.lit(plan.experiment_id).alias("experiment_id"),
            "user_id",
            "metric_name",
            "value",
            F.timestamp_micros("_at").alias("outcome_ts"),
        )
    )


def _event(metric: str, at: Column, control: Column, treated: Column) -> Column:
    return F.struct(
        F.lit(metric).alias("metric_name"),
        at.cast("long").alias("_at"),
        control.cast("double").alias("_control"),
        treated.cast("double").alias("_treated"),
    )


def _orders(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """Conversion, revenue and refund events: at most one order per user and week, counted from assignment or exposure.

    A user orders when a standard normal number passes a threshold. The shares are so exact in both worlds, and whoever
    orders at the lower share also orders at the higher one.
    """
    scenario, week = plan.scenario, F.col("_week")
    frame = users.withColumn("_week", F.explode(F.sequence(F.lit(-plan.weeks_before), F.lit(plan.weeks_after - 1))))
    draw = uniform("order/time", week)
    before = F.col("_assign_us") + week * WEEK + F.floor(draw * WEEK)
    soon = F.col("_anchor_us") + 60 * SECOND + F.floor(draw * draw * (5 * DAY))
    later = F.col("_anchor_us") + week * WEEK + F.floor(draw * WEEK)
    frame = frame.withColumn("_at", F.when(week < 0, before).when(week == 0, soon).otherwise(later))
    frame = frame.where((week >= 0) | (F.col("_at") >= F.col("_assign_us") - F.col("_history_us")))
    rho, affected = CONVERSION_CORRELATION, (week >= 0) & F.col("_is_exposed")
    latent = math.sqrt(rho) * F.col("_propensity") + math.sqrt(1 - rho) * normal("order", week)
    lifted = scenario.base_conversion + scenario.effect_lift_conversion
    frame = frame.select(
        *(*HIDDEN, "user_id", "_at", "_week"),
        affected.alias("_affected"),
        (latent > threshold(scenario.base_conversion)).alias("_buys"),
        (latent > F.when(affected, threshold(lifted)).otherwise(threshold(scenario.base_conversion))).alias(
            "_buys_treated"
        ),
    ).where("_buys or _buys_treated")
    frame = frame.withColumn("_order_value", _order_value(plan)).withColumn("_refund_draw", uniform("refund", week))
    one = F.lit(1.0)
    dearer = F.round(
        F.col("_order_value") * F.when(F.col("_affected"), 1 + scenario.effect_lift_revenue).otherwise(1.0), 2
    )
    refund_rate = F.when(F.col("_affected"), REFUND_RATE + scenario.effect_lift_refunds).otherwise(REFUND_RATE)
    refunded, refunded_treated = F.col("_refund_draw") < REFUND_RATE, F.col("_refund_draw") < refund_rate
    buys, buys_treated, value = F.col("_buys"), F.col("_buys_treated"), F.col("_order_value")
    refund_at = F.col("_at") + HOUR + F.floor(uniform("refund/time", week) * (1.9 * DAY))
    events = F.array(
        _event("conversion", F.col("_at"), F.when(buys, one), F.when(buys_treated, one)),
        _event("revenue", F.col("_at"), F.when(buys, value), F.when(buys_treated, dearer)),
        _event("refunds", refund_at, F.when(buys & refunded, value), F.when(buys_treated & refunded_treated, dearer)),
    )
    return _explode(frame, events)


def _order_value(plan: SynthPlan) -> Column:
    """The value of an order: lognormal, correlated between a user's orders, rounded to cents."""
    mean, sd = plan.scenario.revenue_mean, plan.scenario.revenue_sd
    if mean == 0:
        return F.lit(0.0)
    spread = math.sqrt(math.log1p((sd / mean) ** 2))
    rho = ORDER_VALUE_CORRELATION
    score = math.sqrt(rho) * normal("order/size") + math.sqrt(1 - rho) * normal("order/value", F.col("_week"))
    return F.round(F.exp(F.lit(math.log(mean) - spread**2 / 2) + spread * score), 2)


def _visits(users: DataFrame, plan: SynthPlan) -> DataFrame:
    """Sessions and their page latency: a user is active on some days, once or twice."""
    first, day = -2 * plan.scenario.pre_period_days, F.col("_rel")
    frame = users.withColumn("_rel", F.explode(F.sequence(F.lit(first), F.lit(7 * plan.weeks_after - 1))))
    latent = math.sqrt(SESSION_CORRELATION) * F.col("_propensity") + math.sqrt(1 - SESSION_CORRELATION) * normal(
        "visit", day
    )
    frame = frame.where(latent > threshold(ACTIVE_DAY_RATE))
    frame = frame.where((day >= 0) | (day * DAY >= -F.col("_history_us")))
    again = uniform("visit/again", day) < SECOND_SESSION_RATE
    frame = frame.withColumn("_k", F.explode(F.when(again, F.array(F.lit(0), F.lit(1))).otherwise(F.array(F.lit(0)))))
    start = F.when(day < 0, F.col("_assign_us")).otherwise(F.col("_anchor_us"))
    at = start + day * DAY + F.floor(uniform("visit/time", day, F.col("_k")) * DAY)
    frame = frame.withColumn("_at", at)
    user_part, own_part = LATENCY_SPREAD
    slow = F.when(attribute(plan, "platform") == "web", 1.0).otherwise(MOBILE_SLOWDOWN)
    noise = F.exp(user_part * normal("latency/user") + own_part * normal("latency", day, F.col("_k")))
    latency = LATENCY_MS * slow * noise
    affected = (day >= 0) & F.col("_is_exposed")
    changed = latency * F.when(affected, 1 + plan.scenario.effect_lift_latency).otherwise(1.0)
    one = F.lit(1.0)
    events = F.array(
        _event("sessions", F.col("_at"), one, one),
        _event("latency", F.col("_at") + 2 * SECOND, F.round(latency, 1), F.round(changed, 1)),
    )
    return _explode(frame, events)


def _first_visits(users: DataFrame) -> DataFrame:
    """The session event at each exposed user's first exposure."""
    one = F.lit(1.0)
    return _explode(users.where("_is_exposed"), F.array(_event("sessions", F.col("_first_exposure_us"), one, one)))


def _explode(frame: DataFrame, events: Column) -> DataFrame:
    return frame.select(*HIDDEN, "user_id", F.inline(events)).where("_control is not null or _treated is not null")
