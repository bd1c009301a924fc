"""The decision rules as a table: one line is one situation, read from left to right."""

from __future__ import annotations

import pytest

from exp_platform.config.policy import Policy
from exp_platform.decision.rules import ArmDecision, ArmEvidence, Moment, Primary, decide, decide_arm, sum_up
from exp_platform.decision.trust import TrustVerdict
from exp_platform.status import Decision, Trust

TRUSTED = TrustVerdict(Trust.TRUSTED, ())
CAUTION = TrustVerdict(Trust.CAUTION, ("caution:skewness:revenue",))
NOT_TRUSTED = TrustVerdict(Trust.NOT_TRUSTED, ("srm_failed:srm_analysed",))

# What the primary metric says: effect, interval in force, p after Holm over the arms. It matters from 0.5 on.
PRIMARY = {
    "better": ("ok", "", 2.0, 1.0, 3.0, 0.001),
    "a little better": ("ok", "", 0.3, 0.1, 0.45, 0.001),
    "worse": ("ok", "", -2.0, -3.0, -1.0, 0.001),
    "unclear": ("ok", "", 0.5, -1.0, 2.0, 0.4),
    "nothing": ("ok", "", 0.0, -0.4, 0.4, 0.9),
    "too few": ("insufficient_data", "arm_below_min_units", None, None, None, None),
    "no relative": ("ok", "control_mean_near_zero", None, None, None, None),
    "no method": ("not_applicable", "no_pre_period", None, None, None, None),
    "not parallel": ("failed_pretrends", "", 2.0, 1.0, 3.0, None),
    "none": None,
}

# trust        primary            guardrails               pre-trends   end      → decision             first reasons
TABLE = """
trusted      | better          | pass pass              | -          | before | ship               | primary_better guardrails_passed
trusted      | better          | -                      | -          | before | ship               | primary_better
trusted      | better          | pass pass              | -          | after  | ship               | primary_better guardrails_passed
caution      | better          | pass                   | -          | before | ship               | primary_better guardrails_passed caution:skewness:revenue
trusted      | a little better | pass                   | -          | after  | ship               | primary_better guardrails_passed
trusted      | better          | pass inconclusive      | -          | before | keep_running       | before_planned_end primary_better guardrail_inconclusive inconclusive:g2
trusted      | better          | pass inconclusive      | -          | after  | inconclusive       | primary_better guardrail_inconclusive inconclusive:g2
trusted      | a little better | inconclusive           | -          | after  | do_not_ship        | flat guardrail_inconclusive inconclusive:g1
trusted      | better          | fail pass              | -          | before | stop               | guardrail_failed:g1
trusted      | too few         | fail pass              | -          | before | stop               | guardrail_failed:g1
trusted      | worse           | pass                   | -          | before | do_not_ship        | primary_worse
trusted      | worse           | fail                   | -          | before | stop               | guardrail_failed:g1
trusted      | unclear         | pass                   | -          | before | keep_running       | before_planned_end not_significant
trusted      | unclear         | pass                   | -          | after  | inconclusive       | underpowered
trusted      | nothing         | pass                   | -          | before | keep_running       | before_planned_end not_significant
trusted      | nothing         | pass                   | -          | after  | do_not_ship        | flat
trusted      | too few         | inconclusive           | -          | before | insufficient_data  | insufficient_data arm_below_min_units
trusted      | no relative     | pass                   | -          | after  | insufficient_data  | insufficient_data control_mean_near_zero
trusted      | no method       | pass                   | -          | after  | insufficient_data  | not_applicable no_pre_period
trusted      | none            | pass                   | -          | before | keep_running       | before_planned_end no_primary
trusted      | none            | pass                   | -          | after  | inconclusive       | no_primary
trusted      | none            | fail                   | -          | before | stop               | guardrail_failed:g1
not_trusted  | better          | pass                   | -          | before | invalid            | srm_failed:srm_analysed
not_trusted  | worse           | fail                   | -          | after  | invalid            | srm_failed:srm_analysed
trusted      | better          | pass                   | passed     | before | ship               | primary_better guardrails_passed
trusted      | not parallel    | pass                   | failed     | before | invalid            | pretrends_failed
trusted      | better          | fail                   | failed     | after  | invalid            | pretrends_failed
trusted      | better          | pass                   | insufficient_data | after | invalid      | pretrends_not_tested
"""  # noqa: E501


def primary(name: str, increase_is_good: bool = True) -> Primary | None:
    row = PRIMARY[name]
    return None if row is None else Primary(*row, increase_is_good=increase_is_good, practical_threshold=0.5)


def lines() -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize("line", lines(), ids=lambda line: " / ".join(line[:5]))
def test_the_first_rule_that_applies_decides(line: list[str]):
    trust, name, guardrails, pretrends, end, decision, reasons = line
    statuses = [] if guardrails == "-" else guardrails.split()
    arm = ArmEvidence(
        "treatment",
        primary(name),
        tuple((f"g{i}", status) for i, status in enumerate(statuses, start=1)),
        None if pretrends == "-" else pretrends,
    )
    verdicts = {"trusted": TRUSTED, "caution": CAUTION, "not_trusted": NOT_TRUSTED}
    verdict = decide_arm(arm, verdicts[trust], Moment(end == "after", 14, 0.05))
    assert verdict.decision == decision
    assert list(verdict.reasons) == reasons.split()


def test_for_a_metric_where_less_is_good_a_fall_ships_and_a_rise_does_not():
    moment = Moment(False, 14, 0.05)
    falls = ArmEvidence("treatment", primary("worse", increase_is_good=False))
    rises = ArmEvidence("treatment", primary("better", increase_is_good=False))
    assert decide_arm(falls, TRUSTED, moment).decision is Decision.SHIP
    assert decide_arm(rises, TRUSTED, moment).decision is Decision.DO_NOT_SHIP


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ("ship ship", "ship"),
        ("ship stop", "ship"),
        ("ship keep_running", "ship"),
        ("stop stop", "stop"),
        ("stop keep_running", "keep_running"),
        ("keep_running do_not_ship", "keep_running"),
        ("do_not_ship stop", "do_not_ship"),
        ("do_not_ship inconclusive", "inconclusive"),  # one is worse, the other undecided: a person decides
        ("do_not_ship insufficient_data", "inconclusive"),
        ("do_not_ship do_not_ship", "do_not_ship"),
        ("invalid invalid", "invalid"),
        ("insufficient_data insufficient_data", "insufficient_data"),
        ("inconclusive inconclusive", "inconclusive"),
        ("stop insufficient_data", "inconclusive"),  # they share nothing: a person decides
        ("ship", "ship"),
        ("stop", "stop"),
    ],
)
def test_the_row_all_sums_the_arms_up(arms: str, expected: str):
    verdicts = [ArmDecision(f"arm{i}", Decision(word), ("why",)) for i, word in enumerate(arms.split())]
    summary = sum_up(verdicts)
    assert (summary.variant_id, summary.decision) == ("all", expected)


def test_the_row_all_names_the_arm_that_ships():
    arms = [ArmEvidence("a", primary("unclear")), ArmEvidence("b", primary("better"))]
    *each, summary = decide(arms, TRUSTED, Moment(False, 14, 0.05))
    assert [v.decision for v in each] == ["keep_running", "ship"]
    assert summary.reasons[0] == "ship:b"


def test_of_several_arms_that_ship_the_best_is_named():
    moment = Moment(False, 14, 0.05)
    better = primary("better")
    summary = decide(
        [ArmEvidence("a", better, beats=("b", "c")), ArmEvidence("b", better), ArmEvidence("c", better)],
        TRUSTED,
        moment,
    )[-1]
    assert summary.reasons[:4] == ("ship:a", "ship:b", "ship:c", "best:a")
    told = decide([ArmEvidence("a", better), ArmEvidence("b", better)], TRUSTED, moment)[-1]
    assert told.reasons[:3] == ("ship:a", "ship:b", "not_told_apart:a and b")
    alone = decide([ArmEvidence("a", better), ArmEvidence("b", primary("unclear"))], TRUSTED, moment)[-1]
    assert alone.reasons[:2] == ("ship:a", "primary_better")


def test_an_error_that_may_be_too_small_is_a_doubt_in_the_reasons_and_holds_a_careful_policy_back():
    moment = Moment(True, 14, 0.05)
    arm = ArmEvidence("treatment", primary("better"), pretrends="passed", doubts=("few_clusters",))
    assert decide_arm(arm, TRUSTED, moment).reasons == ("primary_better", "few_clusters")
    careful = decide_arm(arm, TRUSTED, moment, policy(ship_with_caution=False))
    assert (careful.decision, careful.reasons) == (
        "inconclusive",
        ("primary_better", "caution_holds_back", "few_clusters"),
    )


@pytest.mark.parametrize(
    ("pretrends", "choice", "decision", "reasons"),
    [
        ("insufficient_data", "invalid", "invalid", ("pretrends_not_tested", "single_day")),
        ("insufficient_data", "doubt", "ship", ("primary_better", "pretrends_not_tested", "single_day")),
        ("failed", "doubt", "invalid", ("pretrends_failed",)),
        ("passed", "doubt", "ship", ("primary_better",)),
    ],
)
def test_a_policy_may_admit_a_trend_that_nobody_can_test_and_never_one_that_failed(
    pretrends, choice, decision, reasons
):
    untested = ("single_day",) if pretrends == "insufficient_data" else ()
    arm = ArmEvidence("treatment", primary("better"), pretrends=pretrends, untested=untested)
    verdict = decide_arm(arm, TRUSTED, Moment(True, 14, 0.05), policy(untested_trends=choice))
    assert (verdict.decision, verdict.reasons) == (decision, reasons)


def test_an_admitted_trend_holds_a_policy_back_that_ships_without_open_doubts_only():
    arm = ArmEvidence("treatment", primary("better"), pretrends="insufficient_data")
    rules = policy(untested_trends="doubt", ship_with_caution=False)
    verdict = decide_arm(arm, TRUSTED, Moment(True, 14, 0.05), rules)
    assert (verdict.decision, verdict.reasons[1]) == ("inconclusive", "caution_holds_back")


def test_without_a_practical_threshold_no_interval_is_flat_and_the_reasons_say_so():
    row = PRIMARY["nothing"]
    arm = ArmEvidence("treatment", Primary(*row, increase_is_good=True, practical_threshold=0.0))
    verdict = decide_arm(arm, TRUSTED, Moment(True, 14, 0.05))
    assert (verdict.decision, verdict.reasons) == ("inconclusive", ("underpowered", "no_practical_threshold"))


def test_the_shipped_policy_ships_nothing_before_a_week_is_over():
    arm = ArmEvidence("treatment", primary("better"))
    assert decide_arm(arm, TRUSTED, Moment(False, 6, 0.05)).decision == "keep_running"
    assert decide_arm(arm, TRUSTED, Moment(False, 7, 0.05)).decision == "ship"


def policy(**keys: object) -> Policy:
    return Policy(name="test", version=1, description="test", **keys)


@pytest.mark.parametrize(
    ("rules", "name", "guardrail", "trust", "decision", "reason"),
    [
        (policy(guardrails="none_failed"), "better", "inconclusive", TRUSTED, "ship", "primary_better"),
        (policy(ship_on="practical"), "better", "pass", TRUSTED, "ship", "primary_better"),
        (policy(ship_on="practical"), "a little better", "pass", TRUSTED, "keep_running", "below_practical_threshold"),
        (policy(ship_with_caution=False), "better", "pass", CAUTION, "keep_running", "caution_holds_back"),
        (policy(min_days=14), "better", "pass", TRUSTED, "ship", "primary_better"),
        (policy(min_days=15), "better", "pass", TRUSTED, "keep_running", "before_min_days"),
    ],
)
def test_a_policy_changes_what_it_takes_to_ship(rules, name, guardrail, trust, decision, reason):
    arm = ArmEvidence("treatment", primary(name), (("g1", guardrail),))
    verdict = decide_arm(arm, trust, Moment(False, 14, 0.05), rules)
    assert verdict.decision == decision
    assert reason in verdict.reasons


@pytest.mark.parametrize(
    ("row", "seen"),
    [("better", "primary_better"), ("worse", "primary_worse"), ("nothing", "not_significant"), ("none", "no_primary")],
)
@pytest.mark.parametrize("ended", [False, True])
def test_an_exploratory_result_decides_nothing_and_says_what_was_seen(row, seen, ended):
    values = PRIMARY[row]
    primary = Primary(*values, increase_is_good=True, practical_threshold=0.5) if values else None
    changed = ("primary_changed:revenue to conversion",)
    arm = ArmEvidence("treatment", primary, guardrails=(("g1", "pass"),))
    verdict = decide_arm(arm, TRUSTED, Moment(ended, 14, 0.05, changed))
    assert (verdict.decision, verdict.reasons) == (Decision.INCONCLUSIVE, (*changed, seen))


def test_harm_and_broken_trust_count_in_an_exploratory_result_too():
    primary = Primary(*PRIMARY["better"], increase_is_good=True, practical_threshold=0.5)
    moment = Moment(True, 14, 0.05, ("primary_changed:revenue to conversion",))
    harmed = ArmEvidence("treatment", primary, guardrails=(("g1", "fail"),))
    assert decide_arm(harmed, TRUSTED, moment).decision is Decision.STOP
    assert decide_arm(ArmEvidence("treatment", primary), NOT_TRUSTED, moment).decision is Decision.INVALID
