"""The section on trust: what failed or warned as cards, what passed as one line that opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exp_platform.decision.trust import SRM_CHECKS, exposures_failed, sample_ratio_failed, touches_decision
from exp_platform.memo import names, trust_words
from exp_platform.memo.blocks import Bullets, Card, Fold, Section, Table, Text
from exp_platform.memo.numbers import p_is, p_text
from exp_platform.memo.source import Source
from exp_platform.status import CheckStatus

Row = Mapping[str, Any]
DAYS_SHOWN = 5
FAULT, DOUBT = "fail", "warn"


def trust(source: Source) -> Section:
    """Cards for what the decision stands on, marks for the rest, then everything that was checked."""
    cards = [*_second_opinion(source), *_sample_ratio(source), *_exposures(source), *_others(source)]
    blocks: list[Any] = list(cards) or [Text("Nothing that the decision stands on failed or warned.")]
    marks = [row for row in _spoke_up(source) if not touches_decision(row, source.plan.deciding_metrics)]
    if marks:
        lines = dict.fromkeys(f"{source.title(r['metric_name'])}: {names.check_says(r['check_name'])}" for r in marks)
        blocks += [
            Text("About metrics that decide nothing, as marks on their rows:", quiet=True),
            Bullets(tuple(lines)),
        ]
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
    said = f"{second['sentence']} (run {second['run_id']}, as of {names.day(second['dt'])}, {second['checked_at']})."
    step = "Compute the run again from the raw files (--full-refresh) and check it again; a data file may be damaged."
    return [Card(FAULT, "Published numbers can't be confirmed", (Text(said), Text(second["detail"]), Text(step)))]


def _spoke_up(source: Source) -> list[Row]:
    return [
        row
        for row in source.published.checks
        if row["status"] != CheckStatus.OK.value and row["check_name"] not in names.INFORMATION
    ]


def _sample_ratio(source: Source) -> list[Card]:
    """One card, however many checks see the cause."""
    rows = [row for row in _spoke_up(source) if row["check_name"] in SRM_CHECKS]
    if not rows:
        return []
    first = min(rows, key=lambda r: (not sample_ratio_failed(r), SRM_CHECKS.index(r["check_name"])))
    gate = sample_ratio_failed(first)
    blocks: list[Any] = [Text(f"{trust_words.sample_ratio_story(first, source.published.checks)}.")]
    located = [row for row in rows if row["segment"] != "all"]
    if located:
        where = ", ".join(_group(row["segment"]) for row in located[:DAYS_SHOWN])
        blocks.append(Text(f"It shows in: {where}{_more(len(located))}."))
    blocks.append(Text("Look at how users are dealt to the arms, and at what loses users of one arm alone."))
    return [Card(FAULT if gate else DOUBT, "The arms do not have the sizes that were promised", tuple(blocks))]


def _exposures(source: Source) -> list[Card]:
    """A card for each check of the days that failed or warned."""
    mode = source.plan.experiment.analysis_mode
    by_check: dict[str, list[Row]] = {}
    for row in source.published.quality:
        by_check.setdefault(row["check_name"], []).append(row)
    cards = []
    for name, rows in sorted(by_check.items()):
        bad = sorted((r for r in rows if r["status"] != CheckStatus.OK.value), key=lambda r: r["date"])
        if not bad:
            continue
        says = names.check_says(name)
        days = tuple(f"{names.day(r['date'].isoformat())}: {r['detail'] or 'no figures'}" for r in bad[:DAYS_SHOWN])
        fatal = any(exposures_failed(row, mode) for row in bad)
        lead = f"{len(bad)} of {len(rows)} days, since {names.day(bad[0]['date'].isoformat())}."
        blocks: list[Any] = [Text(lead), Bullets(days)]
        if len(bad) > DAYS_SHOWN:
            blocks.append(Text(f"And {len(bad) - DAYS_SHOWN} more days.", quiet=True))
        if not fatal:
            blocks.append(Text("All assigned users are analysed, so this costs the result no trust by itself."))
        cards.append(Card(FAULT if fatal else DOUBT, f"{says[:1].upper()}{says[1:]}", tuple(blocks)))
    return cards


def _others(source: Source) -> list[Card]:
    """A card for each other check × metric that the decision stands on."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in _spoke_up(source):
        if row["check_name"] not in SRM_CHECKS and touches_decision(row, source.plan.deciding_metrics):
            found.setdefault((row["check_name"], row["metric_name"]), []).append(row)
    cards = []
    for (name, metric), rows in sorted(found.items()):
        about = "" if metric == "all" else f"{source.title(metric)}: "
        says = names.check_says(name)
        failed = any(row["status"] == CheckStatus.FAIL.value for row in rows)
        lines = tuple(_line(row) for row in rows[:DAYS_SHOWN])
        cards.append(
            Card(FAULT if failed else DOUBT, f"{about}{says}" if about else says.capitalize(), (Bullets(lines),))
        )
    return cards


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
