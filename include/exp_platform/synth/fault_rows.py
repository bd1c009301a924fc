"""Faults of rows: each function changes the frames for a share `size`, of users assigned on certain days."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from exp_platform.schemas import event_time_column
from exp_platform.synth.frames import Frames, with_dt
from exp_platform.synth.generation import DAY, HOUR, SECOND, SynthPlan
from exp_platform.synth.random import uniform

Days = tuple[int, ...]
RowFault = Callable[[Frames, float, Days, SynthPlan], Frames]

BOT_SESSIONS = 100  # a bot's least number of sessions; also the largest order as a multiple of the mean order
BOT_MOST_SESSIONS = 5000
TIME_ZONE_HOURS = 5
MAX_SKEW_MINUTES = 120


def _on(days: Days) -> Column:
    """True when the user was assigned on one of the days; without days, always."""
    return F.col("_day").isin(*days) if days else F.lit(True)


def _users_hit(name: str, size: float, days: Days) -> Column:
    """True for a share of the users, the same users in every dataset."""
    return (uniform(f"fault/{name}") < size) & _on(days)


def _rows_hit(name: str, dataset: str, size: float, days: Days) -> Column:
    """True for a share of the rows of a dataset."""
    at = F.unix_micros(event_time_column(dataset))
    extra = [F.col("metric_name")] if dataset == "outcomes" else []
    return (uniform(f"fault/{name}/{dataset}", at, *extra) < size) & _on(days)


def _other_arm(plan: SynthPlan) -> Column:
    """An arm other than the user's own."""
    control = plan.experiment.control.id
    return F.when(F.col("_is_treated"), control).otherwise(plan.arms[0][0])


def _shift(frame: DataFrame, hit: Column, delta_us: Column) -> DataFrame:
    """Move the exposure times of the hit rows; they stay in their dt folder, as with a logger whose clock is wrong."""
    moved = F.timestamp_micros(F.unix_micros("exposure_ts") + delta_us.cast("long"))
    return frame.withColumn("exposure_ts", F.when(hit, moved).otherwise(F.col("exposure_ts")))


def broken_exposure_logging(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """No exposure of a share of the users is logged."""
    return frames.change("exposures", frames.exposures.where(~_users_hit("broken_exposure_logging", size, days)))


def pre_assignment_exposure(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """Exposed users have one more exposure, minutes to hours before their assignment."""
    hit = _users_hit("pre_assignment_exposure", size, days) & (F.col("unit") == "user")
    back = F.lit(60 * SECOND) + F.floor(uniform("fault/pre_assignment_exposure/time") * (6 * HOUR))
    early = frames.exposures.where(hit).withColumn("exposure_ts", F.timestamp_micros(F.col("_assign_us") - back))
    return frames.change("exposures", with_dt(frames.exposures.unionByName(early), "exposures"))


def variant_mismatch(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the users sees, and logs, the other arm throughout."""
    hit = _users_hit("variant_mismatch", size, days)
    seen = F.when(hit, _other_arm(plan)).otherwise(F.col("variant"))
    return frames.change("exposures", frames.exposures.withColumn("variant", seen))


def multi_variation_exposure(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """Exposed users see the other arm as well, a minute later."""
    hit = _users_hit("multi_variation_exposure", size, days) & (F.col("unit") == "user")
    again = _shift(frames.exposures.where(hit), F.lit(True), F.lit(60 * SECOND))
    both = frames.exposures.unionByName(again.withColumn("variant", _other_arm(plan)))
    return frames.change("exposures", both)


def late_exposure(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """All exposures of a share of the users come after the exposure window, or after the experiment without one."""
    hours = plan.experiment.exposure_window_hours
    delay = F.lit(hours * HOUR) if hours is not None else F.lit(plan.end_us) - F.col("_assign_us")
    late = _shift(frames.exposures, _users_hit("late_exposure", size, days), delay)
    return frames.change("exposures", with_dt(late, "exposures"))


def srm(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the treated users leaves no trace at all."""
    return frames.keep(~(_users_hit("srm", size, days) & F.col("_is_treated")))


def duplicate_events(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the rows of every dataset is there twice."""
    for name, frame in frames.present().items():
        frames = frames.change(name, frame.unionByName(frame.where(_rows_hit("duplicate_events", name, size, days))))
    return frames


def missing_day(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the outcome events of those calendar days never arrives."""
    at = F.unix_micros("outcome_ts")
    day = F.floor((at - plan.start_us) / DAY)
    lost = day.isin(*days) & (uniform("fault/missing_day", at, F.col("metric_name")) < size)
    return frames.change("outcomes", frames.outcomes.where(~lost))


def bots(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A few users click hundreds to thousands of times and order for many times the mean; a handful dwarfs the rest."""
    bot = frames.attributes.where((F.col("dimension") == "platform") & _users_hit("bots", size, days))
    bot = bot.dropDuplicates(["user_id"]).withColumn("_force", 1 / uniform("fault/bots/force"))
    clicks = F.least(F.lit(BOT_MOST_SESSIONS), F.floor(BOT_SESSIONS * F.col("_force")))
    bot = bot.withColumn("_k", F.explode(F.sequence(F.lit(0).cast("long"), clicks)))
    most = BOT_SESSIONS * (plan.scenario.revenue_mean or 1.0)
    order = F.round(F.least(F.lit(most), 0.2 * most * F.col("_force")), 2)
    kind = F.when(F.col("_k") == 0, "revenue").when(F.col("_k") == 1, "conversion").otherwise("sessions")
    start = F.coalesce("_first_exposure_us", "_assign_us")
    added = bot.select(
        *[c for c in frames.outcomes.columns if c.startswith("_")],
        *("experiment_id", "user_id"),
        kind.alias("metric_name"),
        F.when(F.col("_k") == 0, order).otherwise(1.0).alias("value"),
        F.timestamp_micros(start + (F.col("_k") + 1) * (60 * SECOND)).alias("outcome_ts"),
    )
    return frames.change("outcomes", frames.outcomes.unionByName(with_dt(added, "outcomes")))


def null_user_ids(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the assignment, exposure and outcome rows has lost its user."""
    for name, frame in frames.present().items():
        if name != "attributes":
            user = F.when(~_rows_hit("null_user_ids", name, size, days), F.col("user_id"))
            frames = frames.change(name, frame.withColumn("user_id", user))
    return frames


def unknown_variant(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the assignment and exposure rows names an arm that the registry does not know."""
    for name in ("assignments", "exposures"):
        frame = frames.present().get(name)
        if frame is not None:
            variant = F.when(_rows_hit("unknown_variant", name, size, days), "ghost").otherwise(F.col("variant"))
            frames = frames.change(name, frame.withColumn("variant", variant))
    return frames


def out_of_order_timestamps(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the exposure and outcome rows lands one to three days after it happened, behind newer rows."""
    for name in ("exposures", "outcomes"):
        frame = frames.present()[name]
        delay = 1 + F.floor(uniform("fault/out_of_order/delay", F.unix_micros(event_time_column(name))) * 3).cast("int")
        landed = F.when(_rows_hit("out_of_order", name, size, days), F.date_add("dt", delay)).otherwise(F.col("dt"))
        frames = frames.change(name, frame.withColumn("dt", landed))
    return frames


def timezone_shift(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the users has its exposures logged in a local time five hours behind, labelled as UTC."""
    hit = _users_hit("timezone_shift", size, days)
    return frames.change("exposures", _shift(frames.exposures, hit, F.lit(-TIME_ZONE_HOURS * HOUR)))


def clock_skew(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the users has a device whose clock, and so its exposures, is up to two hours behind."""
    behind = F.floor(uniform("fault/clock_skew/behind") * (MAX_SKEW_MINUTES * 60 * SECOND))
    hit = _users_hit("clock_skew", size, days)
    return frames.change("exposures", _shift(frames.exposures, hit, -behind))


def non_parallel_pre_period(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """Treated users were on the rise before assignment: the older a day, the more of its events are missing."""
    at = F.unix_micros("outcome_ts")
    age = (F.col("_assign_us") - at) / max(plan.history_us, 1)
    draw = uniform("fault/non_parallel_pre_period", at, F.col("metric_name"))
    lost = F.col("_is_treated") & (age > 0) & (draw < size * F.least(age, F.lit(1.0))) & _on(days)
    return frames.change("outcomes", frames.outcomes.where(~lost))


def reused_user_ids_across_experiments(frames: Frames, size: float, days: Days, plan: SynthPlan) -> Frames:
    """A share of the users carries ids that other experiments with this fault use, too."""
    shared = F.concat(F.lit("shared_"), F.substring_index("user_id", "_", -1))
    hit = _users_hit("reused_user_ids", size, days)
    for name, frame in frames.present().items():
        frames = frames.change(name, frame.withColumn("user_id", F.when(hit, shared).otherwise(F.col("user_id"))))
    return frames
