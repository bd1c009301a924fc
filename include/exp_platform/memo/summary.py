"""The summary at the end of a run in a terminal: the decision, the deciding numbers, and the memo's path."""

from __future__ import annotations

import json
from datetime import date

from exp_platform.config.load import Project
from exp_platform.memo.files import latest_path, memo_dir, read_latest
from exp_platform.memo.render import shown_effect, shown_interval
from exp_platform.memo.words import p_is


def decision_summary(project: Project, experiment_id: str, dt: date) -> str:
    """The summary in a few lines of plain text, read from the memo of a dt."""
    path = memo_dir(project) / experiment_id / f"{dt}.json"
    if not path.is_file():
        return f"{experiment_id}: no memo for {dt}; run the stage write_memo"
    content = json.loads(path.read_text(encoding="utf-8"))
    answer, plan = content["answer"], content["plan"]
    lines = [f"{experiment_id} as of {dt}: {answer['decision_label'].upper()} ({answer['trust_label'].lower()})"]
    lines += [f"  - {sentence}" for sentence in answer["sentences"]]
    for arm in answer["arms"]:
        row = arm["primary"]
        if row is not None:
            lines.append(
                f"  {row['metric']}, {arm['arm']}: {shown_effect(row)} ({shown_interval(row)}), "
                f"{p_is(row['p_value_adjusted'])}, {row['method']}, {plan['interval_in_force']} interval"
            )
    lines += [f"  guardrail {g['metric']}, {g['arm']}: {g['status']}" for g in content["guardrails"]]
    latest = read_latest(project, experiment_id)
    is_latest = latest is not None and latest["dt"] == content["dt"]
    lines.append(f"memo: {latest_path(project, experiment_id) if is_latest else path.with_suffix('.html')}")
    return "\n".join(lines)
