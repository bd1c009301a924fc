"""The section on trust: each failure and warning as a card, what passed as one line that opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.decision.trust import SRM_CHECKS, exposures_failed, sample_ratio_failed, touches_decision
from exp_platform.memo import names, trust_words
from exp_platform.memo.blocks import Card, Fold, Section, Table, Text
from exp_platform.memo.card_words import SECOND_OPINION, known
from exp_platform.memo.cards import (
    DOUBT,
    FAULT,
    Finding,
    acknowledged,
    card,
    check_card,
    exposure_card,
    is_loud,
    subject_of,
)
from exp_platform.memo.figures import p_is, p_text
from exp_platform.memo.published import Source
from exp_platform.memo.queries import query_of, second_opinions
from exp_platform.status import CheckStatus

Row = Mapping[str, Any]
DAYS_SHOWN = 5


def trust(source: Source) -> Section:
    """Cards for what the decision stands on, folded ones for the rest, then everything that was checked."""
    cards = [*_second_opinion(source), *_sample_ratio(source), *_exposures(source), *_others(source, deciding=True)]
    blocks: list[Any] = list(cards) or [Text("Nothing that the decision stands on failed or warned.")]
    beside = _others(source, deciding=False)
    if beside:
        count = f"{len(beside)} {'warnings' if len(beside) > 1 else 'warning'}"
        blocks.append(Fold(f"{count} about metrics that decide nothing, as marks on their rows", tuple(beside)))
    if source.plan.is_rollout:
        blocks.append(Text("The arms of a rollout are not dealt by chance: no sample ratio is asked of them."))
    second = source.published.second_opinion
    if second and not second["differ"]:
        blocks.append(Text(f"{second['sentence'][:1].upper()}{second['sentence'][1:]} ({second['checked_at']})."))
    passed, every = trust_words.counted(source)
    blocks.append(Fold(f"{passed} of {every} checks behind the decision passed", tuple(_checked(source))))
    return Section("trust", "Can it be trusted?", tuple(blocks))


def _second_opinion(source: Source) -> list[Card]:
    """A card where published numbers came out otherwise; the first of them stand in it."""
    second = source.published.second_opinion
    if not second or not second["differ"]:
        return []
    found = Finding(
        tone=FAULT,
        title="Published numbers can't be confirmed",
        what=(f"{second['sentence']} (run {second['run_id']}, {second['checked_at']}).", second["detail"]),
        since=f"the run as of {names.day(second['dt'])}",
        units="",
        where=", ".join(source.title(metric) for metric in second.get("metrics", ())),
        known=SECOND_OPINION,
        query=second_opinions(subject_of(source)),
    )
    return [card(found)]


def _spoke_up(source: Source) -> list[Row]:
    return [row for row in source.published.checks if is_loud(row) and row["check_name"] not in names.INFORMATION]


def _sample_ratio(source: Source) -> list[Card]:
    """One card, however many checks see the cause."""
    rows = [row for row in _spoke_up(source) if row["check_name"] in SRM_CHECKS]
    if not rows:
        return []
    first = min(rows, key=lambda r: (not sample_ratio_failed(r), SRM_CHECKS.index(r["check_name"])))
    located = [row for row in rows if row["segment"] != "all"]
    where = ", ".join(_group(row["segment"]) for row in located[:DAYS_SHOWN]) + _more(len(located))
    segment = next((row["segment"] for row in located if not row["segment"].startswith("date=")), "all")
    since = trust_words.sample_ratio_since(first)
    found = Finding(
        tone=FAULT if sample_ratio_failed(first) else DOUBT,
        title="The arms do not have the sizes that were promised",
        what=(f"{trust_words.sample_ratio_story(first, source.published.checks)}.",),
        since=names.day(since) if since else f"the run as of {names.day(source.facts['dt'])}",
        units=trust_words.sample_ratio_units(first),
        where=where or "on all days and in all segments alike",
        known=known(first["check_name"]),
        query=query_of(first["check_name"], subject_of(source, segment=segment)),
        note=acknowledged(rows, source),
    )
    return [card(found)]


def _exposures(source: Source) -> list[Card]:
    """A card for each check of the days that failed or warned."""
    mode = source.plan.experiment.analysis_mode
    by_check: dict[str, list[Row]] = {}
    for row in source.published.quality:
        by_check.setdefault(row["check_name"], []).append(row)
    return [
        exposure_card(name, rows, source, any(exposures_failed(row, mode) for row in rows), source.published.leads)
        for name, rows in sorted(by_check.items())
        if any(is_loud(row) for row in rows)
    ]


def _others(source: Source, deciding: bool) -> list[Card]:
    """A card for each other check × metric, of those that the decision stands on or of the other ones."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in _spoke_up(source):
        if row["check_name"] not in SRM_CHECKS and touches_decision(row, source.plan.deciding_metrics) is deciding:
            found.setdefault((row["check_name"], row["metric_name"]), []).append(row)
    return [
        check_card(name, metric, rows, tuple(_line(row) for row in rows[:DAYS_SHOWN]), source)
        for (name, metric), rows in sorted(found.items())
    ]


def _line(row: Row) -> str:
    where = "" if row["variant_id"] == "all" else f"{row['variant_id']}: "
    figures = [p_is(row["p_value"])] if row["p_value"] is not None else []
    for word in ("observed", "threshold"):
        if row[word] is not None:
            figures.append(f"{word} {row[word]:,.4g}")
    return where + "; ".join([*figures, *([row["detail"]] if row["detail"] else [])])


def _checked(source: Source) -> list[Any]:
    """The sample ratio with its numbers, exposure checks by name, and the other checks by name."""
    ratio = tuple(
        (
            names.check_name(row["check_name"]),
            _said(row),
            p_text(row["p_value"]),
            row["detail"],
        )
        for row in source.facts["checks"]["srm"]
    )
    blocks: list[Any] = [Table(("Sample ratio", "Verdict", "p", "Users"), ratio, numeric=(2,))] if ratio else []
    days = tuple(
        (
            names.check_name(row["check_name"]),
            f"{row['days'] - len(row['not_ok'])} of {row['days']} days passed",
            "gates" if trust_words.gates(row["check_name"], source) else "a caution at most",
        )
        for row in source.facts["quality"]
    )
    if days:
        blocks.append(Table(("Exposures by day", "Verdict", "Weight"), days))
    others = _by_name(source.facts["checks"]["all"])
    if others:
        blocks.append(Table(("Other checks", "Verdict", "Smallest p"), others, numeric=(2,)))
    return blocks


def _said(row: Row) -> str:
    """The verdict of a sample ratio check; one that does not gate says so in place of a verdict."""
    if not trust_words.can_fail(row):
        return "information: it gates at the planned end only"
    return {"ok": "passed", "warn": "warns", "fail": "failed"}[row["status"]]


def _by_name(rows: Sequence[Row]) -> tuple[tuple[str, str, str], ...]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["check_name"] not in SRM_CHECKS:
            found.setdefault(row["check_name"], []).append(row)
    return tuple(
        (
            names.check_name(name),
            f"{sum(r['status'] == CheckStatus.OK.value for r in group)} of {len(group)} passed",
            p_text(min((r["p_value"] for r in group if r["p_value"] is not None), default=None)),
        )
        for name, group in sorted(found.items())
    )


def _group(segment: str) -> str:
    return names.day(segment.removeprefix("date=")) if segment.startswith("date=") else names.segment(segment)


def _more(count: int) -> str:
    return f" and {count - DAYS_SHOWN} more" if count > DAYS_SHOWN else ""
