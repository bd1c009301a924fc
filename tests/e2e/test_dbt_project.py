"""The dbt project runs on a small lake, its tests pass there, and they fail on a duplicate and on an orphan."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.published_lake import LEFT_OUT, PER_ARM, append_by_user, published_lake

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_handle

PYTHON = ROOT / ".venv-dbt" / "bin" / "python"
DBT = PYTHON.with_name("dbt")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="dbt has no environment here: `make dbt-install` makes it"),
]
LOOK = """
import json, sys, duckdb
rows = duckdb.connect(sys.argv[1], read_only=True).execute(f"SELECT * FROM experiments.{sys.argv[2]}")
names = [column[0] for column in rows.description]
print(json.dumps([dict(zip(names, row)) for row in rows.fetchall()], default=str))
"""


@dataclass(frozen=True)
class Dbt:
    """dbt on a lake of its own; its database, target and logs are in the lake's folder."""

    project: Project

    @property
    def folder(self) -> Path:
        return self.project.root

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "EXP_DBT_CATALOG": self.project.resolve(self.project.profile.catalog.uri),
            "EXP_DBT_DATABASE": str(self.folder / "dbt.duckdb"),
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
        }
        command = [str(PYTHON), str(DBT), *words]
        return subprocess.run(
            command, cwd=ROOT / "dbt", env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    def rows(self, model: str) -> list[dict[str, Any]]:
        words = [str(PYTHON), "-c", LOOK, str(self.folder / "dbt.duckdb"), model]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def failed(self) -> set[str]:
        """The tests that failed in the last command."""
        results = json.loads((self.folder / "target" / "run_results.json").read_text())["results"]
        return {row["unique_id"].split(".")[2] for row in results if row["status"] in ("fail", "error")}


@pytest.fixture(scope="module")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """A lake whose models have been made by `dbt deps && dbt run --select models/experiments/*`."""
    project, _ = published_lake(tmp_path_factory.mktemp("dbt"))
    dbt = Dbt(project)
    for words in (("deps",), ("run", "--select", "models/experiments/*")):
        done = dbt(*words)
        assert done.returncode == 0, done.stdout
    return dbt


def test_the_portfolio_has_one_row_with_decision_trust_effect_and_days(dbt: Dbt) -> None:
    (row,) = dbt.rows("experiment_portfolio")
    shown = {name: row[name] for name in ("decision", "variant_id", "days", "planned_days", "users", "primary_metric")}
    assert shown == {
        "decision": "ship",
        "variant_id": "treatment",
        "days": 14,
        "planned_days": 28,
        "users": 2 * PER_ARM,
        "primary_metric": "checkout",
    }
    assert row["trust"] in ("trusted", "caution")
    latest = load_handle(dbt.project, "gold.latest_results").scan(row_filter="role = 'primary'").to_arrow().to_pylist()
    assert [row[c] for c in ("effect", "ci_low", "ci_high")] == [latest[0][c] for c in ("effect", "ci_low", "ci_high")]
    assert row["ci_low"] < row["effect"] < row["ci_high"]


def test_the_funnel_leads_from_the_assigned_to_the_analysed_users(dbt: Dbt) -> None:
    rows = {row["variant_id"]: row for row in dbt.rows("cohort_funnel")}
    for arm in ("control", "treatment"):
        assert (rows[arm]["assigned"], rows[arm]["excluded_not_exposed"]) == (PER_ARM + LEFT_OUT, LEFT_OUT)
        assert (rows[arm]["analysed"], rows[arm]["excluded_otherwise"]) == (PER_ARM, 0)
        assert 0.4 < rows[arm]["mature"] / PER_ARM < 0.6


def test_quality_has_a_row_a_day_and_results_a_row_a_measure(dbt: Dbt) -> None:
    days = dbt.rows("exposure_quality")
    assert len(days) == 14 and sum(day["assigned"] for day in days) == 2 * PER_ARM
    results = dbt.rows("metric_results")
    deciding = [r for r in results if r["is_deciding"] and r["metric_name"] == "checkout"]
    assert sorted(r["measure"] for r in deciding) == ["control_mean", "effect_abs", "effect_rel", "treatment_mean"]


def test_its_tests_pass_on_the_lake_and_find_a_planted_duplicate_and_an_orphan(dbt: Dbt) -> None:
    done = dbt("test")
    assert done.returncode == 0, done.stdout
    latest = load_handle(dbt.project, "gold.latest_results")
    latest.append(latest.scan().to_arrow())
    cohort = "gold.fct_experiment_cohort"
    orphan = load_handle(dbt.project, cohort).scan(limit=1).to_arrow()
    append_by_user(dbt.project, cohort, orphan.set_column(1, orphan.schema.field("user_id"), [["nobody"]]))

    done = dbt("test", "--select", "source:gold.latest_results", "source:gold.fct_experiment_cohort")

    assert done.returncode == 1, done.stdout
    assert dbt.failed() == {
        "gold__latest_results__one_row_per_grain",
        "gold__fct_experiment_cohort__refers_to__fact_assignment_canonical",
    }


def test_a_lake_that_is_not_there_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    environment = os.environ | {"EXP_DBT_CATALOG": str(tmp_path / "none.db"), "EXP_DBT_DATABASE": str(tmp_path / "x")}
    environment |= {"DBT_TARGET_PATH": str(tmp_path / "target"), "DBT_LOG_PATH": str(tmp_path / "logs")}
    done = subprocess.run(
        [str(PYTHON), str(DBT), "run"], cwd=ROOT / "dbt", env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "there is no lake: the catalog" in done.stdout and "Run `make demo`" in done.stdout
