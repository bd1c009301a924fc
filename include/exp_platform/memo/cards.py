"""A card for each warning: what, since when, how many, where, its usual cause, one query, one next step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from exp_platform.decision.acknowledged import acknowledgement_of
from exp_platform.memo import names
from exp_platform.memo.blocks import Card, Facts, Query, Text
from exp_platform.memo.card_words import Known, known
from exp_platform.memo.published import Source
from exp_platform.memo.queries import Subject, query_of
from exp_platform.status import CheckStatus

Row = Mapping[str, Any]
FAULT, DOUBT = "fail", "warn"
SHOWN = 5  # days, segments or arms that a card names
_OF_USERS = re.compile(r" of (?P<users>[\d,]+) ")


@dataclass(frozen=True)
class Finding:
    """The facts of one card; an empty one is left out."""

    tone: str
    title: str
    what: tuple[str, ...]
    since: str
    units: str
    where: str
    known: Known
    query: str
    note: str = ""


def card(found: Finding) -> Card:
    """The card of a finding."""
    pairs = (
        ("Since", found.since),
        ("How many", found.units),
        ("Where", found.where),
    )
    blocks: list[Any] = [Text(sentence) for sentence in found.what if sentence]
    blocks.append(Facts(tuple((label, value) for label, value in pairs if value)))
    blocks.append(Text(f"Usual cause: {found.known.causes}"))
    if found.note:
        blocks.append(Text(found.note))
    blocks += [Query("Look closer:", found.query), Text(f"Next: {found.known.step}")]
    return Card(found.tone, found.title, tuple(blocks))


def subject_of(source: Source, metric: str = "all", segment: str = "all") -> Subject:
    """The subject of a query about this memo's experiment."""
    sources = next((m.sources for m in source.plan.metrics if m.name == metric), ())
    return Subject(
        experiment_id=source.plan.experiment.experiment_id,
        dt=source.facts["dt"],
        metric=metric,
        sources=tuple(sources),
        segment=segment,
        streams={str(dataset): read for dataset, read in source.plan.experiment.streams.items()},
        run_id=source.facts["run"]["run_id"],
    )


def acknowledged(rows: Iterable[Row], source: Source) -> str:
    """The reason for which the registry passes over these rows; empty where one of them counts."""
    every = [acknowledgement_of(row, source.plan.experiment.acknowledge) for row in rows if is_loud(row)]
    if not every or None in every:
        return ""
    reasons = dict.fromkeys(a.reason for a in every if a is not None)
    return f"Acknowledged, so that it costs no trust: {'; '.join(reasons)}"


def is_loud(row: Row) -> bool:
    """True for a row that failed or warned."""
    return bool(row["status"] != CheckStatus.OK.value)


def exposure_card(name: str, rows: Sequence[Row], source: Source, fatal: bool, leads: Sequence[float] = ()) -> Card:
    """The card of a check of exposures by day; `leads` are hours between an exposure and a later assignment."""
    bad = sorted((row for row in rows if is_loud(row)), key=lambda row: row["date"])
    says = names.check_says(name)
    note = acknowledged(bad, source)
    if not note and not fatal:
        note = "All assigned users are analysed, so this costs the result no trust by itself."
    told = known(name)
    if name == "pre_assignment_exposure" and leads:
        told = Known(lead_cause(leads), told.step)
    metrics = [m for m in source.plan.metrics if name == "outcome_volume" and any(_names(m, row) for row in bad)]
    about = subject_of(source, metrics[0].name if len(metrics) == 1 else "all")
    return card(
        Finding(
            tone=FAULT if fatal else DOUBT,
            title=f"{says[:1].upper()}{says[1:]}",
            what=(f"{names.day(bad[0]['date'].isoformat())}: {bad[0]['detail'] or 'no figures'}.",),
            since=f"{names.day(bad[0]['date'].isoformat())}, on {len(bad)} of {len(rows)} days",
            units=_units(name, bad),
            where=_days(bad),
            known=told,
            query=query_of(name, about),
            note=note,
        )
    )


def check_card(name: str, metric: str, rows: Sequence[Row], lines: tuple[str, ...], source: Source) -> Card:
    """The card of a check of one metric, or of the whole experiment where `metric` is `all`."""
    loud = [row for row in rows if is_loud(row)]
    about = "" if metric == "all" else f"{source.title(metric)}: "
    says = names.check_says(name)
    since = source.published.spoke_since.get((name, metric))
    failed = any(row["status"] == CheckStatus.FAIL.value for row in loud)
    return card(
        Finding(
            tone=FAULT if failed else DOUBT,
            title=f"{about}{says}" if about else f"{says[:1].upper()}{says[1:]}",
            what=lines,
            since=f"the run as of {names.day((since or source.plan.dt).isoformat())}",
            units=_users_of(name, metric, loud, source),
            where=_arms(loud),
            known=known(name),
            query=query_of(name, subject_of(source, metric)),
            note=acknowledged(loud, source),
        )
    )


def spoke_since(history: Iterable[Row], dt: date) -> dict[tuple[str, str], date]:
    """(check, metric) that speaks as of dt -> the first dt since which it has spoken at every look.

    >>> rows = [(1, "ok"), (2, "warn"), (3, "warn")]
    >>> rows = [dict(dt=date(2026, 1, d), check_name="cap", metric_name="m", status=s) for d, s in rows]
    >>> spoke_since(rows, date(2026, 1, 3))
    {('cap', 'm'): datetime.date(2026, 1, 2)}
    """
    loud: dict[date, set[tuple[str, str]]] = {}
    for row in history:
        if row["dt"] <= dt:
            found = loud.setdefault(row["dt"], set())
            if is_loud(row):
                found.add((row["check_name"], row["metric_name"]))
    since: dict[tuple[str, str], date] = {}
    still = set(loud.get(dt, ()))
    for day in sorted(loud, reverse=True):
        still &= loud[day]
        since |= dict.fromkeys(still, day)
    return since


def lead_cause(leads: Sequence[float]) -> str:
    """The cause of exposures before their assignment, from how many hours before they lie.

    Device clocks are off by less than two hours. A local time zone moves every exposure by as many whole hours: most
    of those that then lie before the assignment do so by little less than that. Late assignments do not pile up so.
    """
    hours = sorted(leads)
    middle, last = hours[len(hours) // 2], hours[-1]
    seen = f"half of them by more than {middle:.1f} hours, none by more than {last:.1f}"
    if last <= 2:
        return f"Clocks of devices are behind, by up to two hours ({seen})."
    whole = round(last)
    if abs(whole - last) < 0.1 and middle >= 0.6 * whole:
        return f"A local time zone {whole} hours behind is labelled as UTC ({seen})."
    return f"Users saw the change before their assignment was logged ({seen}): the assignment is written too late."


def _names(metric: Any, row: Row) -> bool:
    return any(re.search(rf"\b{re.escape(source)}\b", row["detail"] or "") for source in metric.sources)


def _units(name: str, bad: Sequence[Row]) -> str:
    """Users, or events, beyond what the other days and arms lead to expect, over the days that spoke up."""
    known_rows = [row for row in bad if row["observed"] is not None and row["expected"] is not None]
    if not known_rows:
        return ""
    if name == "outcome_volume":
        lost = sum(row["expected"] - row["observed"] for row in known_rows)
        return f"about {lost:,.0f} events {'fewer' if lost > 0 else 'more'} than expected"
    users = [(row, m) for row in known_rows if (m := _OF_USERS.search(row["detail"] or ""))]
    if not users:
        return ""
    off = sum(abs(row["observed"] - row["expected"]) * int(m["users"].replace(",", "")) for row, m in users)
    of_them = sum(int(m["users"].replace(",", "")) for _, m in users)
    return f"about {off:,.0f} of {of_them:,} users on these days, beyond what the others lead to expect"


def _days(bad: Sequence[Row]) -> str:
    """The days that carry the finding, and the arm where all of them name one."""
    days = ", ".join(names.day(row["date"].isoformat()) for row in bad[:SHOWN])
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    arms = {m[1] for row in bad if (m := re.match(r"in ([^,]+), ", row["detail"] or ""))}
    same = all((row["detail"] or "").startswith("in ") for row in bad) and len(arms) == 1
    return days + more + (f", in {arms.pop()} alone" if same else "")


def _arms(loud: Sequence[Row]) -> str:
    arms = list(dict.fromkeys(row["variant_id"] for row in loud))
    segments = list(dict.fromkeys(row["segment"] for row in loud if row["segment"] != "all"))
    parts = [] if arms == ["all"] else [f"in {', '.join(arms)}"]
    parts += [names.segment(segment) for segment in segments[:SHOWN]]
    return ", ".join(parts) or "in all arms"


def _users_of(name: str, metric: str, loud: Sequence[Row], source: Source) -> str:
    """The users whose values the check looked at."""
    arms = {row["variant_id"] for row in loud}
    rows = [r for r in source.facts["metrics"] if r["metric"] == metric]
    treated = [r for r in rows if r["arm"] in arms] or rows
    if not treated:
        total = sum((r["control_n"] or 0) + (r["treatment_n"] or 0) for r in source.facts["metrics"][:1])
        return f"{total:,} users are analysed" if total else ""
    users = sum(r["treatment_n"] or 0 for r in treated) + (treated[0]["control_n"] or 0)
    if name == "outliers" and loud[0]["observed"] is not None:
        return (
            f"about {max(1, users // 512):,} users, one in 256 of an arm, hold {loud[0]['observed']:.0%} of its spread"
        )
    return f"{users:,} users with a value"
