"""The split of a change: late events, a file that was written again, another cap and a day more, each with its part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from tests.lakes import ONE, Lake
from tests.stages import reading_all

from exp_platform.config.load import Project
from exp_platform.config.models import Cap
from exp_platform.errors import ConfigError
from exp_platform.ledger.claim import claim
from exp_platform.operations import maintenance
from exp_platform.operations.chain_of_runs import Moved, moved
from exp_platform.operations.moved_inputs import run_of
from exp_platform.operations.reproduce import reproduce
from exp_platform.pipelines.context import open_stage
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import STAGES
from exp_platform.pipelines.run import Run
from exp_platform.results.moved import FIGURES, PARTS

pytestmark = [pytest.mark.spark, pytest.mark.long]

USERS = 24
FIRST, LAST = date(2026, 1, 7), date(2026, 1, 8)
KEY = ("revenue", "treatment")
NOT_RUN = ("generate_events", "write_memo")
Row = tuple[str, float, int, str]  # user, value, day of January, file


def configured(project: Project, cap: float | None = None) -> Project:
    """Revenue decides alone, of all assigned users, with or without a cap."""
    experiment = project.experiment(ONE).model_copy(
        update={
            "metrics": ("revenue",), "primary_metric": "revenue", "guardrails": (), "dimensions": (), "min_units": 2,
            "analysis_mode": "itt", "decision_method": "ab", "start_ts": datetime(2026, 1, 5, tzinfo=UTC),
        }
    )  # fmt: skip
    metric = project.metrics["revenue"]
    metric = metric.model_copy(update={"cap": None, "covariates": ()})
    if cap is not None:
        metric = metric.model_copy(update={"cap": Cap(value=cap), "version": metric.version + 1})
    return replace(project, experiments={ONE: experiment}, metrics=project.metrics | {"revenue": metric})


def bought(day: int, file: str, users: Sequence[int], times: float = 1.0) -> list[Row]:
    """Each of these users buys once on a day; a treated user's purchase is worth more."""
    return [(f"u{i}", times * (1 + i % 5 + (i % 2) * 3), day, file) for i in users]


EARLY = bought(5, "dt=5/a", range(USERS)) + bought(6, "dt=6/a", range(0, USERS, 3)) + bought(7, "dt=7/a", range(8))
LATE = bought(6, "dt=6/late", (1, 2, 4, 5))
RESTATED = [row for row in EARLY if row[3] != "dt=6/a"] + bought(6, "dt=6/a", range(0, USERS - 3, 3), times=4.0)
NEW_DAY = bought(8, "dt=8/a", range(3, 19))


def run(lake: Lake, project: Project, run_id: str, dt: date, outcomes: Sequence[Row]) -> None:
    """A run from these events to the decision."""
    claim(project, ONE, run_id, dt, "test")
    of_run = Run(project, ONE, dt, run_id)
    for stage in (stage for stage in STAGES if stage.name not in NOT_RUN):
        session = Session.given(lake.spark)
        with open_stage(of_run, reading_all(stage.name), session=session, say=lambda _: None) as ctx:
            if stage.name != "ingest_events":
                stage.run(ctx)
                continue
            for table, rows in events(outcomes).items():
                ctx.publish(f"exp.{table}", frame(lake, table, rows), inputs={"raw": run_id})


def events(outcomes: Sequence[Row]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each dataset; every user is assigned and exposed on the fifth."""
    at = datetime(2026, 1, 5, 1, tzinfo=UTC)
    seen = [(f"u{i}", ("control", "treatment")[i % 2], at, "user") for i in range(USERS)]
    return {
        "assignments": [(ONE, *row, "a", at) for row in seen],
        "exposures": [(ONE, *row, None, "a", at) for row in seen],
        "outcomes": [
            (ONE, user, "revenue", value, datetime(2026, 1, day, 12, int(user[1:]), tzinfo=UTC), None, file, at)
            for user, value, day, file in outcomes
        ],
    }


def frame(lake: Lake, table: str, rows: Sequence[tuple[Any, ...]]) -> Any:
    from exp_platform.lake.tables import TABLES
    from exp_platform.lake.types import spark_type

    columns = TABLES[f"exp.{table}"].types
    return lake.spark.createDataFrame(rows, ", ".join(f"{name} {spark_type(kind)}" for name, kind in columns.items()))


@pytest.fixture(scope="module")
def runs(lake: Lake) -> Lake:
    """Two runs: between them four events came late, a file was written again, a cap was set and a day passed."""
    run(lake, configured(lake.project), "monday", FIRST, EARLY)
    run(lake, configured(lake.project, cap=7.0), "tuesday", LAST, RESTATED + LATE + NEW_DAY)
    return lake


@pytest.fixture(scope="module")
def split(runs: Lake) -> Moved:
    return moved(configured(runs.project, cap=7.0), "monday", "tuesday", runs.spark)


def test_each_planted_change_is_named_with_its_part(split: Moved) -> None:
    found = {one.part: one for one in split.parts}
    assert {part for part, one in found.items() if one.differs} == {"definition", "late", "restated", "days"}
    assert found["definition"].says == ("revenue: cap.value: not set → 7.0",)
    assert found["late"].says == ("4 late outcomes of revenue on 2026-01-06",)
    assert found["restated"].says == ("7 more and 8 fewer outcomes of revenue on 2026-01-06",)
    assert found["days"].says == ("1 day more",)
    assert split.computed == 3, "definition, late and re-stated; both ends are published"


def test_the_parts_add_up_exactly_and_are_those_of_plain_means(split: Moved) -> None:
    for figure in FIGURES:
        changes = split.chain.changes(KEY, figure)
        assert [change.part for change in changes] == list(PARTS)
        assert sum((change.by for change in changes if change.by is not None), Fraction(0)) == (
            split.chain.total(KEY, figure)
        )
    means = [effect(EARLY), effect(EARLY, 7.0), effect(EARLY + LATE, 7.0), effect(RESTATED + LATE, 7.0)]
    levels = [*means, effect(RESTATED + LATE + NEW_DAY, 7.0)]
    assert absolute(split) == pytest.approx([after - before for before, after in pairwise(levels)])
    assert all(abs(change) > 1e-6 for change in absolute(split)), "every planted change moves the number"


def test_only_inputs_that_differ_are_computed_and_an_unchanged_one_is_zero_by_name(runs: Lake) -> None:
    project = configured(runs.project, cap=7.0)
    run(runs, project, "wednesday", date(2026, 1, 9), RESTATED + LATE + NEW_DAY)
    again = moved(project, "tuesday", "wednesday", spark=None)  # no session: nothing has to be computed
    assert again.computed == 0
    assert [one.part for one in again.parts if one.differs] == ["days"]


def test_a_run_is_reproduced_by_the_configuration_that_it_had(runs: Lake) -> None:
    again = reproduce(configured(runs.project, cap=7.0), "monday", runs.spark)
    assert again.same, again.text()
    assert "this is computed by that of the run, which ops.configurations has kept" in again.text()


def test_runs_that_cannot_be_compared_are_refused_with_a_sentence(runs: Lake) -> None:
    project = configured(runs.project)
    for first, last, why in (
        ("monday", "monday", r"both sides are run 'monday'"),
        ("nobody", "monday", r"run 'nobody' is not in ops.run_manifest; the latest runs: .*monday"),
        ("tuesday", "monday", r"put the earlier one first: exp compare monday tuesday"),
    ):
        with pytest.raises(ConfigError, match=why):
            moved(project, first, last)
    assert run_of(project, "2026-01-07", ONE) == "monday"
    with pytest.raises(ConfigError, match=r"has decided as of 2026-01-02; days with a decision: 2026-01-07 to"):
        run_of(project, "2026-01-02", ONE)
    with pytest.raises(ConfigError, match="--experiment-id"):
        run_of(project, "2026-01-07", None)


def test_a_run_whose_events_have_expired_is_refused(runs: Lake) -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    maintenance.expire(runs.project, runs.spark, later, log=lambda _: None, tables=["exp.outcomes"])
    with pytest.raises(ConfigError, match=r"'monday' can't be computed again.*exp.outcomes"):
        moved(configured(runs.project), "monday", "tuesday")


def absolute(split: Moved) -> list[float]:
    """The effect, moved by definition, late events, re-stated events and days."""
    by = {change.part: change.by for change in split.chain.changes(KEY, "effect")}
    return [float(by[part] or 0) for part in ("definition", "late", "restated", "days")]


def effect(rows: Sequence[Row], cap: float = float("inf")) -> float:
    """The difference of the means of users' sums, on the absolute scale that decides, worked out by hand."""
    sums = {f"u{i}": 0.0 for i in range(USERS)}
    for user, value, _, _ in rows:
        sums[user] += value
    arms = [[min(value, cap) for user, value in sums.items() if int(user[1:]) % 2 == arm] for arm in (0, 1)]
    control, treatment = (sum(arm) / len(arm) for arm in arms)
    return treatment - control
