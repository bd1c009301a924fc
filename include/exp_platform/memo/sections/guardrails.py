"""The section on guardrails: one row each, its interval against what is allowed on one scale."""

from __future__ import annotations

from exp_platform.memo.blocks import Result, Results, Section, Text
from exp_platform.memo.harm import TONES, harm_figures, harm_picture, harm_sentence, harm_verdict
from exp_platform.memo.published import Source


def guardrails(source: Source) -> Section:
    """One row for each guardrail × arm."""
    rows = source.facts["guardrails"]
    if not rows:
        return Section("guardrails", "Guardrails", (Text("The registry names no guardrail."),))
    shown = tuple(
        Result(
            title=row["title"],
            about=f"in {row['arm']}" if source.several_arms else "",
            verdict=harm_verdict(row),
            tone=TONES.get(row["status"], "unclear") if row["is_judged"] else "unclear",
            figures=harm_figures(row),
            picture=harm_picture(row),
            sentence=harm_sentence(row),
        )
        for row in rows
    )
    note = "A guardrail is held by evidence: only when the whole interval lies on the safe side of what is allowed."
    return Section("guardrails", "Guardrails", (Results(shown), Text(note, quiet=True)))
