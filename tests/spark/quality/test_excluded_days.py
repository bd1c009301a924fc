"""One lost day, end to end: invalid, valid again with an exclusion, and equal to raw data without that day's users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.sessions import session_for

from exp_platform.config.load import load_project
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import (
    ANALYSIS_RESULTS,
    COHORT,
    DECISION,
    EXCLUDED_DAYS,
    EXPOSURE_QUALITY_DAILY,
    EXPOSURE_STATISTICS,
    EXPOSURE_VALIDATION,
    FACT_ASSIGNMENT,
    METRIC_AGGREGATES_DAILY,
    METRIC_STATISTICS,
    PANEL_STATISTICS,
    SEALED_PLAN,
    STATISTICAL_VALIDATION,
)
from exp_platform.memo.memo_files import memo_dir
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_end_to_end import run_end_to_end

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ID, DT = "exp_checkout_button_001", date(2026, 1, 18)
LOST = date(2026, 1, 11)  # the seventh day, on which most exposures are lost
SUMS = (METRIC_STATISTICS, EXPOSURE_STATISTICS, PANEL_STATISTICS, METRIC_AGGREGATES_DAILY)
KEPT = (
    *SUMS,
    ANALYSIS_RESULTS,
    COHORT,
    DECISION,
    EXCLUDED_DAYS,
    EXPOSURE_QUALITY_DAILY,
    SEALED_PLAN,
    STATISTICAL_VALIDATION,
)


@dataclass
class Left:
    """The tables and the memo that one run left behind."""

    tables: dict[str, list[dict[str, Any]]]
    memo: dict[str, Any]
    text: str
    snapshots: dict[str, int]  # of tables that an exclusion does not always touch

    def decision(self) -> tuple[str, str, list[str]]:
        (row,) = (r for r in self.tables[DECISION] if r["variant_id"] == "all" and r["dt"] == DT)
        return row["trust"], row["decision"], row["reasons"]

    def of_check(self, name: str) -> dict[date, str]:
        return {r["date"]: r["status"] for r in self.tables[EXPOSURE_QUALITY_DAILY] if r["check_name"] == name}

    def reasons(self) -> dict[str | None, int]:
        found: dict[str | None, int] = {}
        for row in self.tables[COHORT]:
            found[row["exclusion_reason"]] = found.get(row["exclusion_reason"], 0) + 1
        return found


class Experiment:
    """A small experiment in exposed mode whose seventh day loses its exposures."""

    def __init__(self, folder: Path, spark: SparkSession) -> None:
        empty_lake(make_project(folder))
        self.file = folder / "configs" / "experiments" / f"{ID}.yaml"
        profile = yaml.safe_load((folder / "configs" / "dev.yaml").read_text())
        fault = {"name": "broken_exposure_logging", "size": 0.7, "days": [6]}
        profile["experiments"] = {ID: profile["experiments"][ID] | {"days": 14, "n_users": 1700, "faults": [fault]}}
        self.path = folder / "configs" / "dev.yaml"
        self.path.write_text(yaml.safe_dump(profile, sort_keys=False))
        self.spark = session_for(spark, load_project(self.path))

    def run(self, run_id: str, exclude: list[dict[str, Any]], *, generate: bool = False) -> Left:
        content = yaml.safe_load(self.file.read_text())
        content |= {"metrics": ["conversion", "revenue", "latency_p90"], "guardrails": [], "dimensions": []}
        content |= {"primary_metric": "conversion", "end_ts": datetime(2026, 1, 19, tzinfo=UTC), "min_units": 50}
        content["exclude"] = exclude
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))
        self.project = load_project(self.path)
        options = Options(generate_synth=generate)
        run_end_to_end(Run(self.project, ID, DT, run_id, options), spark=self.spark, log=lambda _: None)
        tables = {name: self.rows(name) for name in KEPT}
        memo = memo_dir(self.project) / ID / f"{DT}.json"
        return Left(tables, json.loads(memo.read_text()), memo.with_suffix(".md").read_text(), self.snapshots())

    def snapshots(self) -> dict[str, int]:
        handles = {name: load_handle(self.project, name) for name in (FACT_ASSIGNMENT, EXPOSURE_VALIDATION)}
        return {name: handle.current_snapshot().snapshot_id for name, handle in handles.items()}

    def rows(self, name: str) -> list[dict[str, Any]]:
        found = load_handle(self.project, name).scan(row_filter=f"experiment_id = '{ID}'").to_arrow().to_pylist()
        columns = [column for column in TABLES[name].answer_columns if column != "config_hash"]
        return sorted(({c: row[c] for c in columns} for row in found), key=lambda r: [str(r[c]) for c in columns])

    def drop_users_assigned_on(self, day: date) -> None:
        """Rewrite the raw zone as if these users had never been there."""
        gone = {row["user_id"] for row in self.rows(COHORT) if row["assignment_time_utc"].date() == day}
        for file in Path(self.project.resolve(self.project.profile.raw_root)).rglob("*.parquet"):
            table = pq.read_table(file, partitioning=None)
            kept = table.filter(pc.invert(pc.is_in(table["user_id"], pa.array(sorted(gone)))))
            if kept.num_rows < table.num_rows:
                pq.write_table(kept, file)


def entry(what: str) -> list[dict[str, Any]]:
    return [{"dates": LOST, "what": what, "reason": "the SDK lost its queue", "by": "ana"}]


@pytest.fixture(scope="module")
def story(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Left]]:
    """Four runs as of one day: as it is, without the day's exposures, without its users, and raw data without them."""
    experiment = Experiment(tmp_path_factory.mktemp("lost"), spark)
    found = {
        "broken": experiment.run("broken", [], generate=True),
        "no_exposures": experiment.run("no_exposures", entry("exposures")),
        "no_users": experiment.run("no_users", entry("assignments")),
    }
    experiment.drop_users_assigned_on(LOST)
    found["never_there"] = experiment.run("never_there", [])
    yield found


def test_a_day_without_exposures_makes_the_result_invalid(story: dict[str, Left]) -> None:
    trust, decision, reasons = story["broken"].decision()
    assert (trust, decision) == ("not_trusted", "invalid")
    assert "quality_failed:exposure_logging" in reasons
    assert [day for day, status in story["broken"].of_check("exposure_logging").items() if status == "fail"] == [LOST]
    assert story["broken"].tables[EXCLUDED_DAYS] == [] and story["broken"].memo["unusable"] == {}


@pytest.mark.parametrize("run", ["no_exposures", "no_users"])
def test_with_the_day_excluded_the_result_is_valid_again(story: dict[str, Left], run: str) -> None:
    trust, decision, reasons = story[run].decision()
    assert trust != "not_trusted" and decision != "invalid", reasons
    assert LOST not in story[run].of_check("exposure_logging")
    assert "fail" not in story[run].of_check("exposure_logging").values()


def test_without_the_days_exposures_only_users_of_unknown_exposure_leave(story: dict[str, Left]) -> None:
    before, after = ({r["user_id"]: r for r in story[run].tables[COHORT]} for run in ("broken", "no_exposures"))
    left = {user for user, row in after.items() if row["exclusion_reason"] == "excluded_date"}
    assert left and all(after[user]["assignment_time_utc"].date() <= LOST for user in left)
    for user in after.keys() - left:
        assert after[user] == before[user]
    known_before = {u for u, r in before.items() if r["included"] and r["anchor_utc"].date() < LOST}
    assert known_before and not known_before & left
    (counted,) = story["no_exposures"].tables[EXCLUDED_DAYS]
    assert (counted["what"], counted["metric_name"], counted["users"]) == ("exposures", "all", len(left))


def test_without_the_days_users_every_number_is_that_of_data_that_never_had_them(story: dict[str, Left]) -> None:
    excluded, never = story["no_users"].tables, story["never_there"].tables
    for name in (*SUMS, ANALYSIS_RESULTS):
        assert excluded[name] == never[name], name
    included = [[r for r in tables[COHORT] if r["included"]] for tables in (excluded, never)]
    assert included[0] == included[1]
    verdicts = [
        [r for r in tables[EXPOSURE_QUALITY_DAILY] if r["check_name"] != "outcome_volume"]
        for tables in (excluded, never)
    ]
    assert verdicts[0] == verdicts[1]
    checks = [
        [r for r in tables[STATISTICAL_VALIDATION] if r["check_name"] != "planned_users"]
        for tables in (excluded, never)
    ]
    assert checks[0] == checks[1]


def test_the_days_users_are_counted_under_their_reason(story: dict[str, Left]) -> None:
    of_day = sum(r["assignment_time_utc"].date() == LOST for r in story["no_users"].tables[COHORT])
    assert story["no_users"].reasons()["excluded_date"] == of_day > 50
    (counted,) = story["no_users"].tables[EXCLUDED_DAYS]
    assert (counted["what"], counted["users"], counted["dates"]) == ("assignments", of_day, [LOST.isoformat()])


def test_an_exclusion_computes_no_table_that_it_does_not_touch(story: dict[str, Left]) -> None:
    before, exposures, assignments = (story[run].snapshots for run in ("broken", "no_exposures", "no_users"))
    assert before[FACT_ASSIGNMENT] == exposures[FACT_ASSIGNMENT] == assignments[FACT_ASSIGNMENT]
    assert len({s[EXPOSURE_VALIDATION] for s in (before, exposures, assignments)}) > 1


def test_the_exclusion_is_an_amendment_and_the_memo_names_it_with_its_count(story: dict[str, Left]) -> None:
    seals = sorted(story["no_exposures"].tables[SEALED_PLAN], key=lambda row: row["seal"])
    assert seals[1]["changes"] == [f"exclude.exposures {LOST}: not set → the SDK lost its queue (ana)"]
    (row,) = story["no_exposures"].memo["unusable"]["excluded"]
    assert (row["by"], row["dates"]) == ("ana", [LOST.isoformat()])
    users = row["counts"][0]["users"]
    assert users > 0
    excluded = f"Exposures of {LOST:%-d %b %Y} are excluded: the SDK lost its queue (ana)."
    assert excluded in story["no_exposures"].text
    assert f"{users} of " in story["no_exposures"].text
