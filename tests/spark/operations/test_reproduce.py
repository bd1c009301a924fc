"""A past run computed again: every number compared, every reason why it can't be said in a sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import functions as F
from tests.foreign_expiry import keep_one_snapshot
from tests.lakes import CANONICAL, DT, EVENTS, ONE, Lake
from tests.stages import opened

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.ingest import repeats
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.publication import fence_of
from exp_platform.lake.tables import TABLES
from exp_platform.ledger.claim import claim
from exp_platform.operations import maintenance
from exp_platform.operations.fingerprints import compare
from exp_platform.operations.past_run import find_past_run
from exp_platform.operations.reproduce import reproduce
from exp_platform.operations.scratch import compute, pinned_events, scratch_lake, session_on
from exp_platform.pipelines.registry import BY_NAME
from exp_platform.pipelines.run import Run
from exp_platform.pipelines.stages.write_memo import pin_events

pytestmark = pytest.mark.spark


def _run(
    lake: Lake, run_id: str, users: int, project: Project | None = None, spoil: bool = False, told: str = ""
) -> None:
    """A run as far as J1, on `users` assignment events; `told` are the counts of repeated rows beside them."""
    project = project or lake.project
    claim(project, ONE, run_id, DT, "test")
    for name in ("sync_registry", "ingest_events", "build_assignments"):
        session = lake.spark if BY_NAME[name].needs_spark else None
        with opened(project, ONE, DT, run_id, name, spark=session, log=lambda _: None) as ctx:
            if name == "ingest_events" and told:
                rows = ctx.publish.write_unseen(EVENTS, lake.events(ONE, 0, users))
                ctx.publish.all_or_none([(rows, "overwrite", {"raw": f"{users} users"}, {repeats.PROPERTY: told})])
            elif name == "ingest_events":
                ctx.publish(EVENTS, lake.events(ONE, 0, users), inputs={"raw": f"{users} users"})
            elif spoil and name == "build_assignments":
                wrong = F.when(F.col("user_id") == "3", F.lit(9)).otherwise(F.col("n_variants"))
                ctx.read.frame(EVENTS)
                ctx.publish(CANONICAL, lake.canonical(ONE, users).withColumn("n_variants", wrong))
            else:
                BY_NAME[name].run(ctx)


def test_a_run_gives_the_same_numbers_again_although_the_events_have_changed_since(lake: Lake) -> None:
    _run(lake, "past", users=20)
    _run(lake, "present", users=30)
    before = load_handle(lake.project, CANONICAL).metadata_location

    again = reproduce(lake.project, "past", lake.spark)

    assert again.same, again.text()
    assert f"same   {CANONICAL}: 20 rows" in again.text()
    assert "every number agrees (1 of 1 tables compared)" in again.text()
    assert load_handle(lake.project, CANONICAL).metadata_location == before
    assert reproduce(lake.project, "present", lake.spark).tables[0].rows_now == 30


def test_the_counts_of_repeated_rows_which_a_check_reads_come_with_the_events(lake: Lake) -> None:
    told = repeats.encode({"revenue": repeats.Repeats(9, 4)})
    _run(lake, "repeating", users=4, told=told)
    past = replace(find_past_run(lake.project, "repeating"), stages=frozenset())
    with scratch_lake(lake.project, "repeating") as scratch:
        there, here = session_on(lake.spark, lake.project), session_on(lake.spark, scratch)
        run = Run(scratch, ONE, DT, "repeating")
        compute(run, past, lake.project, here, pinned_events(there, past, run), lambda _: None)
        handle = load_handle(scratch, EVENTS)
        assert repeats.published_with(handle, TABLES[EVENTS], run.scope, fence_of(handle, "main")) == told


def test_a_number_that_does_not_come_out_again_is_shown(lake: Lake) -> None:
    _run(lake, "spoilt", users=6, spoil=True)
    again = reproduce(lake.project, "spoilt", lake.spark)
    assert not again.same
    assert f"DIFFER {CANONICAL}: 6 rows then, 6 now; columns: n_variants" in again.text()
    assert "3: n_variants: 9 -> 1" in again.text()


def test_an_overridden_analysis_mode_is_found_by_its_hash_and_a_changed_configuration_is_said(lake: Lake) -> None:
    own = lake.project.experiment(ONE).analysis_mode
    other = "exposed" if own == "itt" else "itt"
    _run(lake, "overridden", users=5, project=lake.project.with_analysis_mode(ONE, other))
    assert f"analysis_mode {other}" in reproduce(lake.project, "overridden", lake.spark).text()

    changed = lake.project.experiment(ONE).model_copy(update={"alpha": 0.01})
    today = replace(lake.project, experiments=lake.project.experiments | {ONE: changed})
    assert "the configuration of exp_checkout_button_001 has changed since" in (
        reproduce(today, "overridden", lake.spark).text()
    )


def test_a_run_that_is_not_known_is_answered_with_the_latest_ones(lake: Lake) -> None:
    with pytest.raises(ConfigError, match=r"run 'nobody' is not in ops.run_manifest; the latest runs: .*spoilt"):
        reproduce(lake.project, "nobody", lake.spark)


def test_a_run_whose_events_have_expired_says_so(lake: Lake) -> None:
    _run(lake, "forgotten", users=4)
    _run(lake, "newest", users=8)
    later = datetime.now(UTC) + timedelta(days=30)
    maintenance.expire(lake.project, lake.spark, later, log=lambda _: None, tables=[EVENTS])
    with pytest.raises(ConfigError, match=r"'forgotten' can't be computed again.*exp.assignments.*retain_days = 90"):
        reproduce(lake.project, "forgotten", lake.spark)


def test_a_table_whose_past_rows_are_gone_is_named_as_not_compared(lake: Lake) -> None:
    _run(lake, "half_gone", users=4)
    with opened(lake.project, ONE, DT, "half_gone", "write_memo", log=lambda _: None) as ctx:
        pin_events(ctx)
    _run(lake, "after", users=9)
    later = datetime.now(UTC) + timedelta(days=30)
    maintenance.expire(lake.project, lake.spark, later, log=lambda _: None, tables=[EVENTS, CANONICAL])
    again = reproduce(lake.project, "half_gone", lake.spark)
    assert f"?      {CANONICAL}: its rows are gone" in again.text()
    assert not again.same  # nothing could be compared: that is no proof

    keep_one_snapshot(load_handle(lake.project, EVENTS))
    gone = r"exp.assignments: snapshot \d+, pinned by tag run_\w+\).*something other than the platform's maintenance"
    with pytest.raises(ConfigError, match=gone):
        reproduce(lake.project, "half_gone", lake.spark)


def test_comparison_does_not_depend_on_the_order_of_rows_or_of_map_entries(lake: Lake) -> None:
    table = TABLES["gold.fct_experiment_unit_outcomes"]
    columns = """timestamp'2026-01-05 10:00:00' AS anchor_utc, date'2026-01-05' AS cohort_date, 1 AS unit_bucket,
        map('a', 1.0d) AS covariates, map('a', 1.0d) AS did_pre, map('a', true) AS mature,
        map('c', 'DE') AS dimensions"""
    text = "SELECT '{e}' AS experiment_id, '{u}' AS user_id, 'control' AS variant_id, {columns}, map({m}) AS metrics"

    def frame(*users: tuple[str, str]) -> object:
        sql = [text.format(e=ONE, u=u, m=m, columns=columns) for u, m in users]
        rows = [lake.filled(table.name, lake.spark.sql(query)) for query in sql]
        return rows[0].unionByName(rows[1]).repartition(2)

    one = frame(("u1", "'a', 1.0d, 'b', cast(NULL AS DOUBLE)"), ("u2", "'a', 3.0d, 'b', 4.0d"))
    other_order = frame(("u2", "'b', 4.0d, 'a', 3.0d"), ("u1", "'b', cast(NULL AS DOUBLE), 'a', 1.0d"))
    swapped = frame(("u1", "'a', 3.0d, 'b', 4.0d"), ("u2", "'a', 1.0d, 'b', cast(NULL AS DOUBLE)"))

    assert compare(table, one, other_order).same  # type: ignore[arg-type]
    assert compare(table, one, swapped).differing == ("metrics",)  # type: ignore[arg-type]
