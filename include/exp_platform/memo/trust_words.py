"""Trust in words: what broke first and since when, what asks for caution, or the weakest of the checks that passed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exp_platform.decision.trust import ITT_GATES, SRM_GATES, exposures_failed, sample_ratio_failed, touches_decision
from exp_platform.memo import names
from exp_platform.memo.figures import p_is, times
from exp_platform.memo.published import Source
from exp_platform.status import CheckStatus, Trust

Row = Mapping[str, Any]
_COUNTS = re.compile(r"(?P<arm>[^;]+?) (?P<seen>[\d,]+) of (?P<wanted>[\d,]+) expected")
_SINCE = re.compile(r"first below \S+ on (?P<day>\d{4}-\d{2}-\d{2})")
RATIO_TOLD = 1.1  # from here on a mismatch is told as a factor


def broken(source: Source) -> str:
    """The first thing that costs the result its trust, since when and where; empty where nothing does."""
    second = source.published.second_opinion
    if second and second["differ"]:
        return f"{second['sentence']}: {second['detail']}"
    failed = [row for row in source.published.checks if sample_ratio_failed(row)]
    if failed:
        first = min(failed, key=lambda row: SRM_GATES.index(row["check_name"]))
        return sample_ratio_story(first, source.published.checks)
    mode = source.plan.experiment.analysis_mode
    days = [row for row in source.published.quality if exposures_failed(row, mode)]
    if days:
        name = sorted(row["check_name"] for row in days)[0]
        return quality_story(name, [row for row in source.published.quality if row["check_name"] == name])
    return ""


def sample_ratio_story(row: Row, checks: Iterable[Row]) -> str:
    """A broken sample ratio: how many users too many, since when, and the segment that carries it."""
    counts = [(m["arm"].strip(), _int(m["seen"]), _int(m["wanted"])) for m in _COUNTS.finditer(row["detail"])]
    kind = "analysed users" if row["check_name"].endswith("analysed") else "users"
    if not counts or any(wanted == 0 for *_, wanted in counts):
        return f"The arms do not have the promised shares of {kind} ({p_is(row['p_value'])})"
    arm, seen, wanted = max(counts, key=lambda c: c[1] / c[2])
    if seen / wanted >= RATIO_TOLD:
        much = f"{times(seen / wanted)} as many {kind} in {arm} as planned"
    else:
        much = f"{seen:,} {kind} in {arm} where {wanted:,} were planned"
    since = _SINCE.search(row["detail"])
    return much + (f", since {names.day(since['day'])}" if since else "") + _carried_by(checks)


def sample_ratio_since(row: Row) -> str:
    """The ISO date of the first day on which the sample ratio failed; empty where the check names none."""
    since = _SINCE.search(row["detail"])
    return since["day"] if since else ""


def sample_ratio_units(row: Row) -> str:
    """Users of each arm against those that were promised: `control 9,600 of 8,800, 800 too many`."""
    found = []
    for m in _COUNTS.finditer(row["detail"]):
        seen, wanted = _int(m["seen"]), _int(m["wanted"])
        off = f"{abs(seen - wanted):,} too {'many' if seen > wanted else 'few'}"
        found.append(f"{m['arm'].strip()}: {seen:,} users where {wanted:,} were promised, {off}")
    return "; ".join(found)


def _carried_by(checks: Iterable[Row]) -> str:
    """The one value of a dimension in which the sample ratio is off, where only one is."""
    spoke = [c for c in checks if c["check_name"] == "srm_by_segment"]
    by_dimension: dict[str, list[Row]] = {}
    for row in spoke:
        by_dimension.setdefault(row["segment"].partition("=")[0], []).append(row)
    for rows in by_dimension.values():
        off = [row for row in rows if row["status"] != CheckStatus.OK.value]
        if len(off) == 1 and len(rows) > 1:
            return f", only on {names.segment(off[0]['segment'])}"
    return ""


def quality_story(name: str, rows: Sequence[Row]) -> str:
    """A failed check of exposures: on how many days, since when, and the figures of the first one."""
    bad = sorted((row for row in rows if row["status"] == CheckStatus.FAIL.value), key=lambda row: row["date"])
    first = bad[0]
    says = names.check_says(name)
    span = f"on {len(bad)} of {len(rows)} days, first on {names.day(first['date'].isoformat())}"
    return f"{says[:1].upper()}{says[1:]} {span}" + (f": {first['detail']}" if first["detail"] else "")


def doubts(source: Source) -> list[str]:
    """Each caution on what the decision stands on, in words, the gravest first."""
    found: dict[str, None] = {}
    for reason in source.facts["answer"]["reasons"]:
        word, _, rest = reason.partition(":")
        if word == "caution":
            check, _, metric = rest.partition(":")
            about = f"{source.title(metric)}: " if metric else ""
            found[about + names.check_says(check)] = None
    return list(found)


def summary(source: Source) -> str:
    """One line on trust for the first screen."""
    trust = source.facts["answer"]["trust"]
    if not source.judged:
        return "Nothing below may be read as an effect of the change."
    open_doubts = doubts(source)
    if trust == Trust.CAUTION.value and open_doubts:
        more = f"; {len(open_doubts) - 1} more below" if len(open_doubts) > 1 else ""
        return f"{open_doubts[0][:1].upper()}{open_doubts[0][1:]}{more}."
    if trust == Trust.CAUTION.value:
        return "The primary metric is not the one that was planned."
    passed, all_of_them = counted(source)
    if not all_of_them:
        return "No check had anything to look at."
    weakest = weakest_check(source)
    return f"{passed} of {all_of_them} checks passed{f'; weakest: {weakest}' if weakest else ''}.{_twice(source)}"


def _twice(source: Source) -> str:
    """The second opinion where it agrees; empty where nobody has compared a number."""
    second = source.published.second_opinion
    return f" {second['sentence']}." if second and second["compared"] else ""


def counted(source: Source) -> tuple[int, int]:
    """Checks that passed and checks that could fail, of those behind the decision: a check × metric is one."""
    worst: dict[tuple[str, str], bool] = {}
    for row in source.published.checks:
        if can_fail(row) and touches_decision(row, source.plan.deciding_metrics):
            key = row["check_name"], row["metric_name"]
            worst[key] = worst.get(key, True) and row["status"] == CheckStatus.OK.value
    for row in source.published.quality:
        key = row["check_name"], "exposures"
        worst[key] = worst.get(key, True) and row["status"] == CheckStatus.OK.value
    return sum(worst.values()), len(worst)


def can_fail(row: Row) -> bool:
    """False for a check that is information, such as the chi-square before the planned end."""
    name = row["check_name"]
    return name not in names.INFORMATION and not (name.startswith("srm_fixed_") and row["threshold"] is None)


def weakest_check(source: Source) -> str:
    """The passed check with the smallest p among those that can cost the result its trust."""
    named = {*SRM_GATES, "aa_pre_period", *(("pretrends",) if source.plan.is_rollout else ())}
    rows = [
        row
        for row in source.published.checks
        if row["check_name"] in named
        and row["p_value"] is not None
        and can_fail(row)
        and touches_decision(row, source.plan.deciding_metrics)
    ]
    if not rows:
        return ""
    weakest = min(rows, key=lambda row: (row["p_value"], row["check_name"], row["metric_name"]))
    return f"{names.check_name(weakest['check_name'])}, {p_is(weakest['p_value'])}"


def gates(name: str, source: Source) -> bool:
    """True for an exposure check that costs the result its trust in this analysis mode."""
    return source.plan.experiment.analysis_mode == "exposed" or name in ITT_GATES


def _int(text: str) -> int:
    return int(text.replace(",", ""))
