"""From evidence to a decision: for each arm the first rule that applies, then one line that sums the arms up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exp_platform.config.policy import DEFAULT, Policy
from exp_platform.decision.trust import TrustVerdict
from exp_platform.status import Decision, GuardrailStatus, PretrendVerdict, ResultStatus, Trust

ALL = "all"


@dataclass(frozen=True)
class Primary:
    """The deciding row of one arm, on the contract's scale and by the interval in force."""

    status: str  # word of ResultStatus
    reason: str  # why there is no answer
    effect: float | None
    low: float | None
    high: float | None
    p_value_adjusted: float | None  # Holm over the arms
    increase_is_good: bool
    practical_threshold: float


@dataclass(frozen=True)
class ArmEvidence:
    """The evidence on one treatment arm that the rules decide by."""

    variant_id: str
    primary: Primary | None  # None: the registry names no primary metric
    guardrails: tuple[tuple[str, str], ...] = ()  # (metric, word of GuardrailStatus)
    pretrends: str | None = None  # word of PretrendVerdict for a rollout; None: arms were drawn at random
    untested: tuple[str, ...] = ()  # why pre-trends could not be tested
    doubts: tuple[str, ...] = ()  # reasons for which the primary's error may be too small
    beats: tuple[str, ...] = ()  # other treatment arms than which this one is significantly better


@dataclass(frozen=True)
class Moment:
    """Where the experiment stands on its way to the planned end."""

    planned_end_reached: bool
    days_since_start: int
    alpha: float
    exploratory: tuple[str, ...] = ()  # why the result is not the one that was planned: a person decides


@dataclass(frozen=True)
class ArmDecision:
    """A decision for one arm (or `all`) and its reasons in order, as words; `word:subject` where one is meant."""

    variant_id: str
    decision: Decision
    reasons: tuple[str, ...]


def decide(
    arms: Sequence[ArmEvidence], trust: TrustVerdict, moment: Moment, policy: Policy = DEFAULT
) -> tuple[ArmDecision, ...]:
    """One verdict per arm and one for `all`, the last."""
    verdicts = tuple(decide_arm(arm, trust, moment, policy) for arm in arms)
    return (*verdicts, sum_up(verdicts, {arm.variant_id: arm.beats for arm in arms}))


def decide_arm(arm: ArmEvidence, trust: TrustVerdict, moment: Moment, policy: Policy = DEFAULT) -> ArmDecision:
    """The first rule that applies: invalid, stop, insufficient_data, ship, do_not_ship, keep_running, inconclusive.

    An exploratory result is inconclusive where it would ship, not ship or keep running.
    """
    trend, untested = _pretrends(arm, policy)
    open_doubts = trust.reasons if trust.trust is not Trust.NOT_TRUSTED else ()
    doubts = (*untested, *open_doubts, *arm.doubts)

    def verdict(decision: Decision, *reasons: str) -> ArmDecision:
        return ArmDecision(arm.variant_id, decision, tuple(dict.fromkeys((*reasons, *doubts))))

    invalid = (*(trust.reasons if trust.trust is Trust.NOT_TRUSTED else ()), *trend)
    if invalid:
        return verdict(Decision.INVALID, *invalid)
    failed = _guardrails(arm, GuardrailStatus.FAIL)
    if failed:
        return verdict(Decision.STOP, *(f"guardrail_failed:{name}" for name in failed))
    row = arm.primary
    if row is not None and _lacks_answer(row):
        status = row.status if row.status != ResultStatus.OK.value else ResultStatus.INSUFFICIENT_DATA.value
        words = [word for word in row.reason.split(", ") if word]
        return verdict(Decision.INSUFFICIENT_DATA, status, *words)

    if moment.exploratory:
        return verdict(Decision.INCONCLUSIVE, *moment.exploratory, _seen(row, moment.alpha))
    better = row is not None and _significant(row, moment.alpha) > 0
    held_back = _held_back(arm, trust, moment, policy) if better else ()
    if better and not held_back:
        passed = ("guardrails_passed",) if arm.guardrails else ()
        return verdict(Decision.SHIP, "primary_better", *passed)
    if row is not None and _significant(row, moment.alpha) < 0:
        return verdict(Decision.DO_NOT_SHIP, "primary_worse")
    if moment.planned_end_reached and row is not None and _flat(row):
        return verdict(Decision.DO_NOT_SHIP, "flat", *held_back)
    why = _undecided(row, better, held_back)
    if not moment.planned_end_reached:
        return verdict(Decision.KEEP_RUNNING, "before_planned_end", *why)
    return verdict(Decision.INCONCLUSIVE, *(why if better or row is None else _underpowered(row)))


def sum_up(arms: Sequence[ArmDecision], beats: Mapping[str, Sequence[str]] | None = None) -> ArmDecision:
    """`ship` when an arm ships, `stop` when all stop, else keep_running, do_not_ship, what they share, a person.

    An arm that is not shipped beside one that nobody can judge yet is no reason to end: a person decides. Where several
    ship, `beats` says which of them are better than which.
    """

    def those(decision: Decision) -> list[ArmDecision]:
        return [arm for arm in arms if arm.decision is decision]

    shipping = those(Decision.SHIP)
    if shipping:
        names = [arm.variant_id for arm in shipping]
        told = _told_apart(names, beats or {})
        return ArmDecision(ALL, Decision.SHIP, (*(f"ship:{name}" for name in names), *told, *_shared(shipping)))
    if len(those(Decision.STOP)) == len(arms):
        return ArmDecision(ALL, Decision.STOP, _union(arms))
    if those(Decision.KEEP_RUNNING):
        return ArmDecision(ALL, Decision.KEEP_RUNNING, _named(arms, those(Decision.KEEP_RUNNING)))
    if those(Decision.DO_NOT_SHIP) and len(those(Decision.DO_NOT_SHIP)) + len(those(Decision.STOP)) == len(arms):
        return ArmDecision(ALL, Decision.DO_NOT_SHIP, _named(arms, those(Decision.DO_NOT_SHIP)))
    if len({arm.decision for arm in arms}) == 1:
        return ArmDecision(ALL, arms[0].decision, _union(arms))
    return ArmDecision(ALL, Decision.INCONCLUSIVE, ("arms_differ", *(f"{a.decision}:{a.variant_id}" for a in arms)))


def _pretrends(arm: ArmEvidence, policy: Policy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reasons for which a rollout has no valid answer, and those that the policy admits as doubts.

    A trend that nobody can test may be admitted; one that was seen to differ never is.
    """
    if arm.pretrends in (None, PretrendVerdict.PASSED.value):
        return (), ()
    if arm.pretrends == PretrendVerdict.FAILED.value:
        return ("pretrends_failed",), ()
    why = ("pretrends_not_tested", *arm.untested)
    return ((), why) if policy.untested_trends == "doubt" else (why, ())


def _guardrails(arm: ArmEvidence, status: GuardrailStatus) -> list[str]:
    return [name for name, found in arm.guardrails if found == status.value]


def _lacks_answer(row: Primary) -> bool:
    return row.status != ResultStatus.OK.value or None in (row.effect, row.low, row.high, row.p_value_adjusted)


def _significant(row: Primary, alpha: float) -> int:
    """1 when significantly better, -1 when significantly worse, else 0."""
    if row.effect is None or row.p_value_adjusted is None or not row.p_value_adjusted < alpha:
        return 0
    return 1 if (row.effect > 0) is row.increase_is_good else -1


def _flat(row: Primary) -> bool:
    """True when the whole interval is too small to matter."""
    if row.low is None or row.high is None:
        return False
    return -row.practical_threshold < row.low and row.high < row.practical_threshold


def _held_back(arm: ArmEvidence, trust: TrustVerdict, moment: Moment, policy: Policy) -> tuple[str, ...]:
    """Why an arm that is significantly better does not ship."""
    reasons: list[str] = []
    undecided = _guardrails(arm, GuardrailStatus.INCONCLUSIVE)
    if undecided and policy.guardrails == "all_pass":
        reasons += ["guardrail_inconclusive", *(f"inconclusive:{name}" for name in undecided)]
    if policy.ship_on == "practical" and arm.primary is not None and not _practical(arm.primary):
        reasons.append("below_practical_threshold")
    doubtful = trust.trust is Trust.CAUTION or arm.doubts or _pretrends(arm, policy)[1]
    if doubtful and not policy.ship_with_caution:
        reasons.append("caution_holds_back")
    if moment.days_since_start < policy.min_days:
        reasons.append("before_min_days")
    return tuple(reasons)


def _practical(row: Primary) -> bool:
    """True when the whole interval lies beyond the practical threshold, on the good side."""
    near = row.low if row.increase_is_good else row.high
    return near is not None and abs(near) >= row.practical_threshold and (near > 0) is row.increase_is_good


def _undecided(row: Primary | None, better: bool, held_back: tuple[str, ...]) -> tuple[str, ...]:
    if row is None:
        return ("no_primary",)
    return ("primary_better", *held_back) if better else ("not_significant",)


def _seen(row: Primary | None, alpha: float) -> str:
    """The word for an exploratory result, which decides nothing."""
    if row is None:
        return "no_primary"
    return {1: "primary_better", -1: "primary_worse", 0: "not_significant"}[_significant(row, alpha)]


def _underpowered(row: Primary) -> tuple[str, ...]:
    """Too wide an interval; without a practical threshold none is narrow enough to be flat."""
    return ("underpowered",) if row.practical_threshold > 0 else ("underpowered", "no_practical_threshold")


def _told_apart(names: Sequence[str], beats: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The best of several arms that ship, or that none is shown to be the best."""
    if len(names) < 2:
        return ()
    best = [name for name in names if set(names) - {name} <= set(beats.get(name, ()))]
    return (f"best:{best[0]}",) if best else (f"not_told_apart:{' and '.join(names)}",)


def _shared(arms: Sequence[ArmDecision]) -> tuple[str, ...]:
    return tuple(reason for reason in arms[0].reasons if all(reason in arm.reasons for arm in arms))


def _union(arms: Sequence[ArmDecision]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for arm in arms for reason in arm.reasons))


def _named(arms: Sequence[ArmDecision], those: Sequence[ArmDecision]) -> tuple[str, ...]:
    """The reasons of the arms that decide; with several arms also what each of them gets."""
    each: Sequence[str] = () if len(arms) == 1 else [f"{arm.decision}:{arm.variant_id}" for arm in arms]
    return (*each, *_union(those))
