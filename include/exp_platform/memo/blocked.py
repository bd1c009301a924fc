"""The memo of a blocked run: a first screen that says what broke, above the sections of the last finished run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from exp_platform.config.load import Project
from exp_platform.lake.store_path import Folder
from exp_platform.memo import names
from exp_platform.memo import wording as words
from exp_platform.memo.blocks import Memo, Section, to_plain, to_records
from exp_platform.memo.card_words import broken_rule
from exp_platform.memo.cards import FAULT, Finding, card
from exp_platform.memo.content import FORMAT
from exp_platform.memo.first_screen import blocked_screen
from exp_platform.memo.memo_files import latest_path, read_latest, write_memo
from exp_platform.memo.queries import Subject, broken_rules, quarantined
from exp_platform.memo.render import records

BLOCKED = "blocked"  # the key of the section on what blocked the run
_COUNTED = re.compile(r"[\d,]+ of [\d,]+ distinct rows \([^)]*\)|\(and \d+ more files alike\)")
_STREAM = re.compile(r"^\S+: stream \S+ is blocked since ")  # from pipelines.stream_gate
_FILES = re.compile(r"[^\s:;'(]+\.(?:parquet|csv|json|jsonl)\b")


def write_blocked_memo(
    project: Project, experiment_id: str, dt: date, run_id: str, stage: str, sentence: str
) -> Folder:
    """Write the latest memo again below the reason; `since` is the first dt blocked since a run last finished."""
    last = read_latest(project, experiment_id)
    if last and last["dt"] and dt.isoformat() < last["dt"]:
        return latest_path(project, experiment_id)  # a blocked backfill does not concern the latest numbers
    before = (last or {}).get("blocked")
    first_line = (sentence.strip().splitlines() or ["a contract is broken"])[0]
    blocked = {
        "since": before["since"] if before else dt.isoformat(),
        "dt": dt.isoformat(),
        "stage": stage,
        "run_id": run_id,
        "sentence": first_line,
    }
    return write_memo(project, experiment_id, None, blocked_content(project, experiment_id, last, blocked), latest=True)


def blocked_content(
    project: Project, experiment_id: str, last: Mapping[str, Any] | None, blocked: Mapping[str, Any]
) -> dict[str, Any]:
    """The last content under a first screen that says what broke; that of an older format keeps its facts alone."""
    facts = dict(last or _empty(project, experiment_id)) | {"blocked": dict(blocked)}
    readable = facts.get("format") == FORMAT
    # The screen of the last decision is kept, since a second blocked day builds on it again.
    if "decided" in facts:
        decided = facts["decided"]
    else:
        decided = to_plain(records(facts).first) if readable and facts["answer"] else None
    old = tuple(section for section in records(facts).sections if section.key != BLOCKED) if readable else ()
    first = blocked_screen(to_records(decided) if decided else None, facts["experiment"], blocked, facts["dt"])
    head = f"{first.word}: {first.title}"
    # The books of a blocked stream are the stream's own: its alert has the details, a reader's memo the one line.
    of_a_stream = _STREAM.match(blocked["sentence"]) is not None
    card_of_it = () if of_a_stream else (what_blocked(facts["experiment"]["id"], blocked),)
    return facts | {
        "format": FORMAT,
        "decided": decided,
        "memo": to_plain(Memo(head, first, (*card_of_it, *old))),
    }


def what_blocked(experiment_id: str, blocked: Mapping[str, Any]) -> Section:
    """The card of the broken contract: its rule with files and counts, since when, and the rows that were refused."""
    sentence, told = blocked["sentence"], broken_rule(blocked["sentence"])
    subject = Subject(experiment_id, blocked["dt"], run_id=blocked["run_id"])
    is_of_rows = "ops.quarantine" in sentence
    found = Finding(
        tone=FAULT,
        title=f"The data broke their contract in {blocked['stage']}",
        what=(sentence,),
        since=f"the run as of {names.day(blocked['since'])}",
        units=", ".join(dict.fromkeys(m[0].strip() for m in _COUNTED.finditer(sentence))),
        where=", ".join(dict.fromkeys(m[0] for m in _FILES.finditer(sentence))),
        known=told,
        query=quarantined(subject) if is_of_rows else broken_rules(subject),
    )
    return Section(BLOCKED, "What blocked the run", (card(found),))


def _empty(project: Project, experiment_id: str) -> dict[str, Any]:
    """The facts of a memo without numbers, for an experiment that no run has finished."""
    e = project.experiment(experiment_id)
    return {
        "experiment": {
            "id": e.experiment_id,
            "name": e.name,
            "owner": e.owner,
            "hypothesis": e.hypothesis,
            "start": words.moment(e.start_ts),
            "end": words.moment(e.end_ts),
        },
        "dt": None,
        "answer": None,
    }
