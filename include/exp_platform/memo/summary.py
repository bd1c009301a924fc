"""The memo's first screen in a terminal: the decision, the effect, trust, guardrails, the next step and the path."""

from __future__ import annotations

import textwrap
from datetime import date

from exp_platform.config.load import Project
from exp_platform.lake.store_path import Folder
from exp_platform.memo.blocks import Arm, FirstScreen
from exp_platform.memo.draw.line import interval_line
from exp_platform.memo.memo_files import latest_path, memo_dir, read_json, read_latest
from exp_platform.memo.render import records
from exp_platform.memo.text import clean

WIDTH = 100


def decision_summary(project: Project, experiment_id: str, dt: date) -> str:
    """The first screen as plain text, read from the memo of a dt."""
    path = memo_dir(project) / experiment_id / f"{dt}.json"
    content = read_json(path)
    if content is None:
        return f"{experiment_id}: no memo for {dt}; run the stage write_memo"
    if "memo" not in content:
        return f"{experiment_id}: the memo for {dt} was written by an earlier version; run the stage write_memo again"
    latest = read_latest(project, experiment_id)
    is_latest = latest is not None and latest["dt"] == content["dt"]
    where = latest_path(project, experiment_id) if is_latest else path.with_suffix(".html")
    return terminal(records(content).first, where)


def terminal(first: FirstScreen, memo: Folder) -> str:
    """The first screen in lines of at most a hundred characters."""
    about = f"{clean(first.owner)} · {clean(first.as_of)}, {clean(first.next_due)}"
    lines = [
        *_wrapped(first.title),
        f"{first.experiment_id} · {about}",
        "─" * WIDTH,
        f"{clean(first.word).upper()}   ({clean(first.trust_word).lower()})",
        *_wrapped(first.because),
        *(line for arm in first.arms for line in _arm(arm)),
        *_wrapped(f"Trust: {first.trust}"),
        *_wrapped(f"Guardrails: {first.guardrails}"),
        *_wrapped(f"Next: {first.next_step}"),
        f"memo: {memo}",
    ]
    return "\n".join(lines)


def _arm(arm: Arm) -> list[str]:
    lead = f"{clean(arm.name)}: {clean(arm.decision)}. " if arm.decision else ""
    return [*_wrapped(lead + arm.sentence), *(interval_line(arm.picture, WIDTH) if arm.picture else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(clean(text), WIDTH)
