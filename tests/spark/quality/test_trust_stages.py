"""J1 and J2 through the lake: what they publish of generated events, which days they distrust, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.sessions import session_for
from tests.stages import reading_all

from exp_platform.config.load import Project
from exp_platform.config.models import Fault
from exp_platform.errors import ContractViolation
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.context import StageContext, open_stage
from exp_platform.pipelines.lazy_session import Session
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Options, Run
from exp_platform.pipelines.run_stage import audit_of
from exp_platform.schemas import contract_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

EXPERIMENT = "exp_add_cart_002"
DT = date(2026, 2, 1)
USERS, DAYS = 2500, 21
ASSIGNMENTS = "silver.fact_assignment_canonical"
VERDICTS = "gold.fct_experiment_exposure_quality_daily"


@dataclass
class Rig:
    """A lake of its own and a way to run stages in it."""

    project: Project
    spark: SparkSession

    @contextmanager
    def stage(self, name: str, run_id: str, **options: Any) -> Iterator[StageContext]:
        run = Run(self.project, EXPERIMENT, DT, run_id, Options(**options))
        session = Session.given(self.spark)
        with open_stage(run, reading_all(name), session=session, audit=audit_of, say=lambda _: None) as ctx:
            yield ctx

    def load(self, run_id: str, *faults: Fault) -> None:
        """Put generated events where ingest would."""
        from pyspark.sql import functions as F

        from exp_platform.synth.frames import draw
        from exp_platform.synth.generate import plan_of
        from exp_platform.synth.planted_faults import apply_to_rows

        plan = plan_of(self.project, EXPERIMENT, faults=faults)
        plan = replace(plan, scenario=plan.scenario.model_copy(update={"n_users": USERS, "days": DAYS}))
        frames = apply_to_rows(draw(self.spark, plan).frames, plan)
        claim(self.project, EXPERIMENT, run_id, DT, "test")
        with self.stage("ingest_events", run_id) as ctx:
            for dataset, frame in frames.present().items():
                events = frame.select(*contract_columns(dataset)).distinct()
                for column in contract_columns(dataset, optional=True).keys() - contract_columns(dataset).keys():
                    events = events.withColumn(column, F.lit(None).cast("string"))
                ctx.publish(
                    f"exp.{dataset}",
                    events.withColumns({"source_file": F.lit("a.parquet"), "ingested_at": F.lit(ctx.now)}),
                )

    def run(self, run_id: str, *names: str) -> None:
        for name in names:
            with self.stage(name, run_id) as ctx:
                BY_NAME[name].run(ctx)

    def table(self, name: str) -> DataFrame:
        self.spark.catalog.refreshTable(f"iceberg.{name}")
        return self.spark.table(f"iceberg.{name}").where(f"experiment_id = '{EXPERIMENT}'")

    def failing(self) -> dict[str, set[int]]:
        """Check -> days since the start on which it failed."""
        found: dict[str, set[int]] = {}
        for row in self.table(VERDICTS).where("status = 'fail'").collect():
            found.setdefault(row["check_name"], set()).add((row["date"] - date(2026, 1, 12)).days)
        return found

    def contract_results(self, run_id: str) -> list[Any]:
        return self.table("ops.contract_results").where(f"run_id = '{run_id}'").collect()


@pytest.fixture(scope="module")
def rig(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    project = make_project(tmp_path_factory.mktemp("trust"))
    empty_lake(project)
    return Rig(project, session_for(spark, project))


@pytest.fixture(scope="module")
def healthy(rig: Rig) -> Rig:
    rig.load("healthy")
    rig.run("healthy", "build_assignments", "validate_exposures")
    return rig


def test_healthy_events_pass_every_rule_and_turn_no_check(healthy: Rig) -> None:
    results = healthy.contract_results("healthy")
    assert [row["expectation"] for row in results if not row["success"]] == []
    assert {row["table"] for row in results} >= {
        ASSIGNMENTS,
        "silver.fact_exposure",
        "silver.int_experiment_exposure_validation",
        "gold.fct_experiment_quality_metrics_daily",
        VERDICTS,
    }
    assert healthy.failing() == {}


def test_each_settled_day_is_judged_by_each_check(healthy: Rig) -> None:
    counts = {
        row["check_name"]: row["count"] for row in healthy.table(VERDICTS).groupBy("check_name").count().collect()
    }
    assert counts.pop("outcome_volume") == DAYS
    assert counts == dict.fromkeys(
        (
            "exposure_logging",
            "pre_assignment_exposure",
            "variant_mismatch",
            "multi_variation_exposure",
            "exposure_outside_window",
            "conflicted_assignment",
        ),
        DAYS - 1,  # the last day is not settled
    )


def test_people_find_the_valid_assignments_in_a_view(healthy: Rig) -> None:
    view = healthy.spark.table("iceberg.silver.fact_assignment")
    assert view.where(f"experiment_id = '{EXPERIMENT}'").count() == healthy.table(ASSIGNMENTS).where("is_valid").count()


def test_on_the_tables_of_the_lake_no_user_is_shuffled(healthy: Rig) -> None:
    """Events and users are stored in the same buckets, so grouping and joining by user moves nothing."""
    from exp_platform.transforms.assignments import canonical_assignments
    from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users

    claim(healthy.project, EXPERIMENT, "plans", DT, "test")
    threshold = "spark.sql.autoBroadcastJoinThreshold"
    before = healthy.spark.conf.get(threshold)
    healthy.spark.conf.set(threshold, "-1")  # a few users would be broadcast, millions are not
    with healthy.stage("validate_exposures", "plans") as ctx:
        window = {
            "start_ts": ctx.run.experiment.start_ts,
            "end_ts": ctx.run.experiment.end_ts,
            "cutoff": ctx.run.cutoff,
        }
        assignments = ctx.read.frame(ASSIGNMENTS)
        judged = judge_exposures(ctx.read.frame("exp.exposures"), assignments, **window, exposure_window_hours=24)
        frames = (
            canonical_assignments(ctx.read.frame("exp.assignments"), **window),
            exposure_events(judged),
            validate_users(judged, assignments),
        )
        plans = [frame._jdf.queryExecution().executedPlan().toString() for frame in frames]
    healthy.spark.conf.set(threshold, before)
    assert [plan.count("Exchange") for plan in plans] == [0, 0, 0]
    assert [word for plan in plans for word in ("Window", "Python", "Cartesian") if word in plan] == []


@pytest.mark.parametrize(
    ("fault", "check", "days"),
    [
        (Fault(name="broken_exposure_logging", size=0.6, days=(9, 10)), "exposure_logging", {9, 10}),
        (Fault(name="multi_variation_exposure", size=0.3, days=(5, 6, 7)), "multi_variation_exposure", {5, 6, 7}),
        (Fault(name="missing_day", size=1.0, days=(10,)), "outcome_volume", {10}),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_fault_turns_its_own_check_on_its_own_days(rig: Rig, fault: Fault, check: str, days: set[int]) -> None:
    run_id = f"with_{fault.name}"
    rig.load(run_id, fault)
    rig.run(run_id, "build_assignments", "validate_exposures")
    assert rig.failing() == {check: days}


def test_a_result_that_breaks_its_suite_is_not_published_and_says_why(healthy: Rig) -> None:
    from pyspark.sql import functions as F

    before = healthy.table(ASSIGNMENTS).count()
    claim(healthy.project, EXPERIMENT, "broken", DT, "test")
    with (
        pytest.raises(ContractViolation) as refused,
        healthy.stage("build_assignments", "broken", full_refresh=True) as ctx,
    ):
        ghosts = ctx.read.frame(ASSIGNMENTS).withColumn("variant_id", F.lit("ghost"))
        ctx.publish(ASSIGNMENTS, ghosts.limit(7))

    message = str(refused.value)
    assert message.startswith(f"{ASSIGNMENTS}: variant_id is one of the experiment's variants (7 rows), for example ")
    assert "user_id=" in message
    assert "Nothing was published" in message
    assert healthy.table(ASSIGNMENTS).count() == before
    failed = [row for row in healthy.contract_results("broken") if not row["success"]]
    assert [(row["severity"], row["unexpected_count"]) for row in failed] == [("critical", 7)]
    assert len(failed[0]["sample"]) == 5


def test_a_table_that_disagrees_with_another_is_not_published(healthy: Rig) -> None:
    daily = "gold.fct_experiment_quality_metrics_daily"
    claim(healthy.project, EXPERIMENT, "disagrees", DT, "test")
    with (
        pytest.raises(ContractViolation, match="days add up to all assignments"),
        healthy.stage("validate_exposures", "disagrees", full_refresh=True) as ctx,
    ):
        ctx.publish(daily, ctx.read.frame(daily).where("date > '2026-01-15'"))


def test_warnings_are_reported_and_do_not_block(healthy: Rig) -> None:
    claim(healthy.project, EXPERIMENT, "warned", DT, "test")
    with healthy.stage("build_assignments", "warned", full_refresh=True) as ctx:
        late = ctx.read.frame(ASSIGNMENTS).withColumns({"is_outside_window": _true(), "is_valid": ~_true()})
        ctx.publish(ASSIGNMENTS, late)
    failed = [row for row in healthy.contract_results("warned") if not row["success"]]
    assert [(row["severity"], row["expectation"]) for row in failed] == [
        ("warning", "at least 95% of the assignments are valid")
    ]


def _true() -> Any:
    from pyspark.sql import functions as F

    return F.lit(True)
