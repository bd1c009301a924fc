"""A stage reads pinned inputs and its own outputs, writes the manifest, and checks its claim before every commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.stages import made_of, opened

from exp_platform.config.load import Project
from exp_platform.errors import ContractViolation, FencedConflict, Superseded
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.row_audit import Finding
from exp_platform.ledger import manifest
from exp_platform.ledger.claim import claim
from exp_platform.pipelines.context import StageContext
from exp_platform.pipelines.registry import BY_NAME, Stage, UndeclaredTable
from exp_platform.pipelines.stages.write_memo import pin_events

ONE, TWO = "exp_checkout_button_001", "exp_add_cart_002"
DT = date(2026, 2, 1)
VARIANTS = "silver.dim_experiment_variant"
VERDICTS = "gold.fct_experiment_exposure_quality_daily"
DELTAS = "exp.did_pretrend_delta"


@pytest.fixture
def lake_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("context"))
    empty_lake(project)
    return project


@contextmanager
def stage(
    project: Project, name: str | Stage, run_id: str = "run_1", experiment_id: str = ONE, dt: date = DT, **options: Any
) -> Iterator[StageContext]:
    with opened(project, experiment_id, dt, run_id, name, **options) as ctx:
        yield ctx


def variants(experiment_id: str, count: int) -> list[dict[str, Any]]:
    at = datetime(2026, 2, 2, tzinfo=UTC)
    return [
        {
            "experiment_id": experiment_id,
            "variant_id": f"v{i}",
            "is_control": i == 0,
            "expected_allocation": 1 / count,
            "updated_at": at,
        }
        for i in range(count)
    ]


def verdicts(experiment_id: str, days: int) -> list[dict[str, Any]]:
    return [
        {
            "experiment_id": experiment_id,
            "date": date(2026, 1, 1 + i),
            "check_name": "exposure_logging",
            "status": "ok",
            "detail": "",
        }
        for i in range(days)
    ]


def deltas(ctx: StageContext, days: int) -> list[dict[str, Any]]:
    return [
        {
            "experiment_id": ctx.run.experiment_id,
            "dt": ctx.run.dt,
            "metric_name": "revenue",
            "variant_id": "treatment",
            "relative_day": -1 - i,
            "run_id": ctx.run.run_id,
            "computed_at": ctx.now,
        }
        for i in range(days)
    ]


def test_a_later_stage_reads_what_its_run_published_and_not_what_came_after(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry", "run_1") as ctx:
        first = ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, "sync_registry", "run_2") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 3))

    with stage(lake_project, made_of("analyze_results", VARIANTS), "run_1") as ctx:
        assert ctx.read.arrow(VARIANTS).num_rows == 2
        assert json.loads(ctx.input_snapshots) == {VARIANTS: first.snapshot_id}
    with stage(lake_project, "analyze_results", "run_3") as ctx:
        assert ctx.read.arrow(VARIANTS).num_rows == 3


def test_a_table_that_the_run_has_not_published_stays_pinned_where_it_was_first_read(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry", "run_0") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, "analyze_results", "run_1") as ctx:
        assert ctx.read.arrow(VARIANTS).num_rows == 2
    with stage(lake_project, "sync_registry", "run_2") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 4))
    with stage(lake_project, "write_memo", "run_1") as ctx:
        assert ctx.read.arrow(VARIANTS).num_rows == 2


def test_a_stage_sees_only_its_experiment_and_its_dt_unless_it_asks_for_all(lake_project: Project) -> None:
    monday, tuesday = date(2026, 2, 2), date(2026, 2, 3)
    for experiment_id, dt, days in ((ONE, monday, 3), (ONE, tuesday, 4), (TWO, monday, 5)):
        with stage(lake_project, "analyze_results", f"run_{experiment_id}_{dt}", experiment_id, dt) as ctx:
            ctx.publish(DELTAS, deltas(ctx, days))
    with stage(lake_project, "write_memo", "reader", ONE, tuesday) as ctx:
        assert ctx.read.arrow(DELTAS).num_rows == 4
        assert ctx.read.arrow(DELTAS, ["relative_day"], all_dts=True).num_rows == 7


def test_the_manifest_names_every_read_and_publication_with_rows_and_snapshot(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, made_of("analyze_results", VARIANTS)) as ctx:
        ctx.read.arrow(VARIANTS)
        ctx.publish(DELTAS, deltas(ctx, 3))

    rows = {(r["stage"], r["table"], r["role"]): r for r in manifest.run_rows(lake_project, ONE, "run_1")}
    assert {key: (row["rows"], row["status"]) for key, row in rows.items()} == {
        ("sync_registry", VARIANTS, "published"): (2, "ok"),
        ("analyze_results", VARIANTS, "read"): (2, "ok"),
        ("analyze_results", DELTAS, "published"): (3, "ok"),
    }
    read, published = rows["analyze_results", VARIANTS, "read"], rows["sync_registry", VARIANTS, "published"]
    assert read["snapshot_id"] == published["snapshot_id"]
    summary = load_handle(lake_project, DELTAS).current_snapshot().summary.additional_properties  # type: ignore[union-attr]
    assert json.loads(summary["inputs"]) == {VARIANTS: read["snapshot_id"]}


def test_a_stage_that_died_after_its_commit_finds_it_and_repairs_the_manifest(
    lake_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patched,
        pytest.raises(KeyboardInterrupt),
        stage(lake_project, "sync_registry") as ctx,
    ):
        patched.setattr(manifest.StageManifest, "flush", _die)
        ctx.publish(VARIANTS, variants(ONE, 2))
    assert manifest.run_rows(lake_project, ONE, "run_1") == []
    snapshots = len(load_handle(lake_project, VARIANTS).metadata.snapshots)

    with stage(lake_project, "sync_registry") as ctx:
        assert ctx.publish(VARIANTS, variants(ONE, 2)).repeated

    assert len(load_handle(lake_project, VARIANTS).metadata.snapshots) == snapshots
    (row,) = manifest.run_rows(lake_project, ONE, "run_1")
    assert (row["table"], row["rows"], row["status"]) == (VARIANTS, 2, "ok")


def _die(_: object) -> None:
    raise KeyboardInterrupt


def test_a_refused_publication_is_in_the_manifest_and_its_findings_in_contract_results(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry", "sound") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    fault = Finding("allocation sums to 1", False, "critical", 2, 100.0, ("variant_id=v0",), "found 0.9")

    with (
        pytest.raises(ContractViolation, match=r"allocation sums to 1 \(2 rows\)"),
        stage(lake_project, "sync_registry", "broken", audit=lambda *_: [fault]) as ctx,
    ):
        ctx.publish(VARIANTS, variants(ONE, 3))

    (failure,) = manifest.failures(lake_project, ONE, "broken")
    assert (failure["table"], failure["status"], failure["snapshot_id"]) == (VARIANTS, "blocked", None)
    assert "allocation sums to 1" in failure["error"]
    results = read_rows(load_handle(lake_project, "ops.contract_results"), {"run_id": "broken", "success": False})
    assert [(r["table"], r["expectation"], r["sample"], r["detail"]) for r in results] == [
        (VARIANTS, "allocation sums to 1", ["variant_id=v0"], "found 0.9")
    ]
    assert load_handle(lake_project, VARIANTS).scan().to_arrow().num_rows == 2


def test_a_stage_that_fails_before_it_publishes_leaves_its_reason(lake_project: Project) -> None:
    with pytest.raises(ZeroDivisionError), stage(lake_project, "analyze_results") as ctx:
        ctx.read.arrow(VARIANTS)
        1 / 0  # noqa: B018
    (failure,) = manifest.failures(lake_project, ONE, "run_1")
    assert (failure["table"], failure["status"], failure["error"]) == ("*", "failed", "division by zero")


def test_a_run_that_is_superseded_while_it_works_publishes_nothing(lake_project: Project) -> None:
    claim(lake_project, ONE, "run_1", DT, "test")
    with (
        pytest.raises(Superseded, match="superseded by run run_2"),
        stage(lake_project, "sync_registry", "run_1") as ctx,
    ):
        claim(lake_project, ONE, "run_2", DT, "test")
        ctx.publish(VARIANTS, variants(ONE, 2))
    assert load_handle(lake_project, VARIANTS).scan().to_arrow().num_rows == 0
    with pytest.raises(Superseded), stage(lake_project, "analyze_results", "run_1"):
        raise AssertionError("a superseded run must not get this far")


def test_a_stage_whose_experiment_was_rewritten_meanwhile_conflicts_and_succeeds_when_started_again(
    lake_project: Project,
) -> None:
    with pytest.raises(FencedConflict), stage(lake_project, "sync_registry", "run_1") as ctx:
        with stage(lake_project, "sync_registry", "run_2") as other:
            other.publish(VARIANTS, variants(ONE, 3))
        ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, "sync_registry", "run_1") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    assert load_handle(lake_project, VARIANTS).scan().to_arrow().num_rows == 2


def test_a_backfill_reads_its_own_branch_and_only_tables_with_dt_reach_main(lake_project: Project) -> None:
    later, earlier = date(2026, 2, 5), date(2026, 2, 3)
    with stage(lake_project, "validate_exposures", "latest", dt=later) as ctx:
        ctx.publish(VERDICTS, verdicts(ONE, 5))

    with stage(lake_project, "validate_exposures", "backfill", dt=earlier) as ctx:
        ctx.publish(VERDICTS, verdicts(ONE, 3))
        assert ctx.read.arrow(VERDICTS).num_rows == 3
    with stage(lake_project, "analyze_results", "backfill", dt=earlier) as ctx:
        assert ctx.read.arrow(VERDICTS).num_rows == 3
        ctx.publish(DELTAS, deltas(ctx, 2))

    assert load_handle(lake_project, VERDICTS).scan().to_arrow().num_rows == 5
    assert set(load_handle(lake_project, DELTAS).scan().to_arrow()["dt"].to_pylist()) == {earlier}
    with stage(lake_project, "write_memo", "reader", dt=later) as ctx:
        assert ctx.read.arrow(VERDICTS).num_rows == 5


def test_a_backfill_with_no_later_dt_but_another_experiments_goes_to_main(lake_project: Project) -> None:
    with stage(lake_project, "validate_exposures", "other", TWO, date(2026, 2, 9)) as ctx:
        ctx.publish(VERDICTS, verdicts(TWO, 2))
    with stage(lake_project, "validate_exposures", "mine", ONE, date(2026, 2, 3)) as ctx:
        assert ctx.read.branch == "main"


def test_a_stage_without_a_session_is_told_so(lake_project: Project) -> None:
    with stage(lake_project, "write_memo") as ctx, pytest.raises(RuntimeError, match="without a session"):
        ctx.session()


JUDGED = made_of("validate_exposures", VARIANTS)


def test_a_rerun_from_the_same_inputs_reuses_what_is_there_and_says_whose_it_is(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, JUDGED, "yesterday") as ctx:
        assert ctx.reuse.of(VERDICTS).is_nothing
        first = ctx.publish(VERDICTS, verdicts(ONE, 2))
    with stage(lake_project, JUDGED, "today") as ctx:
        assert ctx.reuse.of(VERDICTS).is_everything
        done = ctx.publish(VERDICTS, lambda: pytest.fail("the rows are not needed"))
        assert (done.snapshot_id, done.repeated) == (first.snapshot_id, True)

    (row,) = [r for r in manifest.run_rows(lake_project, ONE, "today") if r["role"] == "published"]
    assert (row["table"], row["snapshot_id"], row["rows"]) == (VERDICTS, first.snapshot_id, 2)
    (audited,) = read_rows(load_handle(lake_project, "ops.contract_results"), {"run_id": "today"})
    assert audited["expectation"] == "audited when run yesterday published it (made from the same inputs)"


def test_a_rerun_computes_again_when_an_input_the_dt_or_a_full_refresh_asks_for_it(lake_project: Project) -> None:
    for turn, (run_id, count, dt, options) in enumerate(
        [
            ("first", 2, DT, {}),
            ("other input", 3, DT, {}),
            ("other dt", 3, date(2026, 2, 2), {}),
            ("refresh", 3, date(2026, 2, 2), {"full_refresh": True}),
        ]
    ):
        if turn < 2:
            with stage(lake_project, "sync_registry", f"registry {turn}") as ctx:
                ctx.publish(VARIANTS, variants(ONE, count))
        with stage(lake_project, JUDGED, run_id, dt=dt, options=options) as ctx:
            assert ctx.reuse.of(VERDICTS).is_nothing, run_id
            assert not ctx.publish(VERDICTS, verdicts(ONE, 2)).repeated, run_id


@pytest.mark.parametrize("changed", ["configuration", "code"])
def test_another_configuration_and_other_code_compute_again(
    lake_project: Project, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage(lake_project, "sync_registry") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    with stage(lake_project, JUDGED, "before") as ctx:
        ctx.publish(VERDICTS, verdicts(ONE, 2))
    if changed == "code":
        monkeypatch.setattr("exp_platform.pipelines.run.code_version", lambda: "0.1.0+mended")
        project = lake_project
    else:
        experiment = lake_project.experiment(ONE).model_copy(update={"alpha": 0.01})
        project = replace(lake_project, experiments=lake_project.experiments | {ONE: experiment})
    with stage(project, JUDGED, "after") as ctx:
        previous, reason = ctx.reuse.previous(VERDICTS)
        assert (previous, reason) == (None, f"the {changed} has changed since")
        assert ctx.reuse.of(VERDICTS).is_nothing
        assert not ctx.publish(VERDICTS, verdicts(ONE, 2)).repeated


def test_a_table_that_is_not_declared_is_neither_read_nor_published(lake_project: Project) -> None:
    with stage(lake_project, BY_NAME["check_guardrails"], "strict") as ctx:
        with pytest.raises(UndeclaredTable, match=r"check_guardrails reads exp\.outcomes, which its entry"):
            ctx.read.arrow("exp.outcomes")
        with pytest.raises(UndeclaredTable, match=r"check_guardrails publishes exp\.analysis_results"):
            ctx.publish("exp.analysis_results", [])


def test_full_refresh_publishes_even_what_is_there_already(lake_project: Project) -> None:
    with stage(lake_project, "sync_registry") as ctx:
        ctx.publish(VARIANTS, variants(ONE, 2))
    for turn in range(2):
        with stage(lake_project, JUDGED, options={"full_refresh": True}) as ctx:
            assert not ctx.publish(VERDICTS, verdicts(ONE, 2)).repeated, turn


def test_the_event_snapshots_of_a_run_are_tagged_with_their_retention(lake_project: Project) -> None:
    with stage(lake_project, "analyze_results") as ctx:
        ctx.read.arrow("exp.assignments")
        ctx.read.arrow(VARIANTS)
    with stage(lake_project, "write_memo") as ctx:
        pin_events(ctx)
        pin_events(ctx)
    refs = load_handle(lake_project, "exp.assignments").metadata.refs
    (tag,) = [name for name in refs if name.startswith("run_")]
    days = (refs[tag].max_ref_age_ms or 0) / (24 * 3600 * 1000)
    assert 90 <= days < 90.1  # from the snapshot's birth, a moment ago
    assert list(load_handle(lake_project, VARIANTS).metadata.refs) == ["main"]


def test_log_lines_say_rows_seconds_and_snapshots(lake_project: Project) -> None:
    lines: list[str] = []
    with opened(lake_project, ONE, DT, "run_1", "sync_registry", log=lines.append) as ctx:
        done = ctx.publish(VARIANTS, variants(ONE, 2))
    assert lines[0].startswith(f"sync_registry: wrote 2 rows of {VARIANTS} in ")
    assert lines[0].endswith(f"(snapshot {done.snapshot_id})")
    assert lines[-1].startswith("sync_registry: done in ")
