"""The morning in one note and one error, and the notes of single runs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from exp_platform.airflow.morning import failed_before_its_run, morning_of
from exp_platform.airflow.notes import LONGEST, MARK, _write, analysis_note, cut
from exp_platform.airflow.outcomes import outcome_of

pytestmark = pytest.mark.airflow

DAY = "2026-02-06"
SINCE = "failing since 2026-02-03, 4 mornings"


def outcome(experiment_id: str, *failed: tuple[str, str], known: bool = False) -> dict[str, Any]:
    told = [{"task": task, "sentence": sentence} for task, sentence in failed]
    answer = {"decision": "Invalid", "trust": "Not trusted"} if failed else {"decision": "Ship", "trust": "Trusted"}
    return {"experiment_id": experiment_id, "failed": told, "known": known, **answer}


def due(*names: str) -> list[dict[str, str]]:
    return [{"experiment_id": name} for name in names]


def test_the_morning_names_experiment_and_gate_tells_the_new_from_the_known_and_counts_the_healthy() -> None:
    found = morning_of(
        DAY,
        due("exp_a", "exp_b", "exp_c", "exp_d", "exp_e"),
        [
            outcome("exp_a"),
            outcome("exp_b", ("srm_gate", "not trusted: arms have other sizes")),
            outcome("exp_c", ("quality_gate", f"not trusted: variant_mismatch failed; {SINCE}"), known=True),
        ],
        [failed_before_its_run("exp_d", "raw_ready", "no raw outcomes after 6 h")],
        {"sentences": ["owner: missing, and it is required (configs/experiments/exp_f.yaml)"]},
    )
    assert found.note().splitlines() == [
        f"{DAY}: 1 healthy, 3 red, 1 known to be red, configuration refused: 1",
        "- exp_b: srm_gate: not trusted: arms have other sizes",
        "- exp_d: raw_ready: no raw outcomes after 6 h",
        "- exp_e: analyse: ended without a word: see its log",
        "- configuration refused: owner: missing, and it is required (configs/experiments/exp_f.yaml)",
        f"- exp_c: known: quality_gate: not trusted: variant_mismatch failed; {SINCE}",
    ]
    assert "exp_b: srm_gate" in found.error()
    assert "exp_c" not in found.error()
    assert found.others == 4


def test_a_morning_without_experiments_is_a_line() -> None:
    assert morning_of(DAY, [], [], [], None).note() == f"{DAY}: no experiment was due"


def test_a_morning_on_which_nobody_could_look_is_not_a_healthy_one() -> None:
    found = morning_of(DAY, None, [], [], {"sentences": ["spark.master: missing (configs/dev.yaml)"]})
    assert found.note().splitlines() == [
        f"{DAY}: no experiment was looked at: see the red tasks",
        "- configuration refused: spark.master: missing (configs/dev.yaml)",
    ]


RUN = {"experiment_id": "exp_a", "dt": DAY}


def note(state: str, states: dict[str, str | None], left: dict[tuple[str, str], Any], run: Any = RUN) -> list[str]:
    found = outcome_of(states, lambda task_id, key: left.get((task_id, key)))
    return analysis_note(state, {"experiment_id": "exp_a"}, run, found, "https://airflow.example").splitlines()


def test_the_note_of_a_run_says_experiment_day_decision_and_trust_and_leads_to_the_memo() -> None:
    left = {("write_memo", "answer"): {"decision": "Ship", "trust": "Trusted"}}
    assert note("success", {"write_memo": "success"}, left) == [
        f"`exp_a` · {DAY} · Ship · Trusted",
        f"- [memo](https://airflow.example/experiments/memos/exp_a/{DAY}.html)",
    ]


def test_the_note_of_a_red_run_says_which_gate_and_since_when() -> None:
    left = {
        ("write_memo", "answer"): {"decision": "Invalid", "trust": "Not trusted"},
        ("quality_gate", "failure"): {"sentence": f"not trusted: x failed; {SINCE}", "since": SINCE},
    }
    assert note("failed", {"write_memo": "success", "quality_gate": "failed", "watcher": "failed"}, left)[:2] == [
        f"`exp_a` · {DAY} · Invalid · Not trusted",
        f"- quality_gate: not trusted: x failed; {SINCE}",
    ]


def test_the_note_of_a_blocked_run_says_that_there_are_no_new_numbers_and_why() -> None:
    left = {("ingest_events", "failure"): {"sentence": "outcomes: no rows"}}
    assert note("failed", {"ingest_events": "failed", "write_memo": "failed"}, left)[:2] == [
        f"`exp_a` · {DAY} · no new numbers",
        "- ingest_events: outcomes: no rows",
    ]


def test_a_broken_file_is_a_refused_configuration_in_the_note_and_no_crash() -> None:
    left = {("resolve_run", "failure"): {"sentence": "owner: missing (configs/experiments/exp_a.yaml)"}}
    assert note("failed", {"resolve_run": "failed"}, left, run=None) == [
        "`exp_a` · latest day · configuration refused",
        "- resolve_run: owner: missing (configs/experiments/exp_a.yaml)",
    ]


def test_a_running_run_says_what_it_is_about_and_nothing_of_an_earlier_end() -> None:
    assert note("running", {"ingest_events": "failed"}, {}) == [f"`exp_a` · {DAY}"]


def test_a_long_note_loses_whole_lines_at_its_end() -> None:
    text = "\n".join([f"{DAY}: 40 red", *(f"- exp_{n}: srm_gate: {'x' * 50}" for n in range(40))])
    short = cut(text)
    assert len(short) <= LONGEST
    assert text.startswith(short + "\n")
    assert len(cut("x" * 3000)) == LONGEST


class FakeRun:
    """A run of the daily DAG, outside of any session."""

    dag_id, run_id, conf, state = "daily_experiments", "r1", None, "failed"

    def __init__(self, note: str | None) -> None:
        self.note = note


@pytest.mark.parametrize(
    ("before", "after"), [(None, f"{MARK}new"), (f"{MARK}old", f"{MARK}new"), ("mine: do not touch", None)]
)
def test_a_note_that_a_person_wrote_stays(
    before: str | None, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exp_platform.airflow.notes._pull", lambda *_: "new")
    run: Any = FakeRun(before)
    monkeypatch.setattr("exp_platform.airflow.notes._attached", lambda run: nullcontext((run, None)))
    _write(run)
    assert run.note == (after or before)


def test_a_fault_while_a_note_is_written_never_reaches_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exp_platform.airflow.notes._pull", lambda *_: 1 / 0)
    run: Any = FakeRun(None)
    _write(run)
    assert run.note is None
