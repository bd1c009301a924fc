"""The analysis plan of a run: fixed by configuration, policy and sealed plan before the numbers are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exp_platform.config.models import Acknowledgement
from exp_platform.config.policy import Policy, load_policy
from exp_platform.decision.amended import VerdictEffect, effect_on_verdict
from exp_platform.decision.trust import TrustVerdict
from exp_platform.lake.publication import MAIN
from exp_platform.lake.tables.names import SEALED_PLAN
from exp_platform.ledger import claim, seals
from exp_platform.pipelines.run import Run
from exp_platform.results.plan import AnalysisPlan
from exp_platform.results.seal import Content, Seal, acknowledged_in, content_of, differences, next_seal, promise_of

if TYPE_CHECKING:
    from exp_platform.pipelines.context import StageContext

Row = Mapping[str, Any]


def policy_of(run: Run) -> Policy:
    """The decision policy of a run."""
    return load_policy(run.project.root, run.experiment.decision_policy)


def configured_plan(run: Run) -> AnalysisPlan:
    """The plan as the run's configuration has it, without regard to any seal."""
    return AnalysisPlan(run.experiment, run.metrics, run.dt, run.cutoff, policy_of(run).secondaries)


def plan_of(ctx: StageContext) -> AnalysisPlan:
    """The plan that a stage works by: the run's, bound by what the first seal promised."""
    return bound(configured_plan(ctx.run), seals_of(ctx))


def bound(plan: AnalysisPlan, sealed: tuple[Seal, ...]) -> AnalysisPlan:
    """A plan with the promise of the first seal, if there is one."""
    return replace(plan, promise=promise_of(sealed[0].content)) if sealed else plan


def seals_of(ctx: StageContext) -> tuple[Seal, ...]:
    """The seals of the run's experiment in order; the first one is the plan at the start."""
    return tuple(map(Seal.of, seals.in_order(ctx.read.rows(SEALED_PLAN))))


def content_now(ctx: StageContext) -> Content:
    """The plan of the run as it would be sealed now."""
    return content_of(configured_plan(ctx.run), policy_of(ctx.run))


def verdict_effect(
    ctx: StageContext,
    plan: AnalysisPlan,
    decisions: Mapping[str, str],
    results: Callable[[], Sequence[Row]],
    pretrends: Sequence[Row],
    trust: Callable[[Sequence[Acknowledgement]], TrustVerdict],
) -> VerdictEffect | None:
    """The effect of all amendments on the run's decisions (arm -> word); None where its plan is the sealed one.

    `trust` is that of the checks alone, without those that the sealed plan has acknowledged.
    """
    sealed, now = seals_of(ctx), content_now(ctx)
    if not sealed or not differences(sealed[0].content, now):
        return None
    first = sealed[0].content
    return effect_on_verdict(first, now, plan, decisions, results(), pretrends, trust(acknowledged_in(first)))


def seal_plan(ctx: StageContext) -> Seal | None:
    """Seal the plan, or record an amendment; a run whose plan is sealed already writes nothing."""
    run, catalog = ctx.run, ctx.read.catalog
    plan = configured_plan(run)
    held = claim.current_claim(run.project, run.experiment_id, catalog)
    started_by = held.started_by if held is not None and held.run_id == run.run_id else run.started_by
    wanted = Seal.unnumbered(content_now(ctx), ctx.now, run.dt, run.run_id, started_by)

    def take(rows: list[seals.Row]) -> seals.Row | None:
        ctx.publish.check_claim()
        present = tuple(map(Seal.of, rows))
        seal = next_seal(present, wanted, sees_start=plan.has_started, is_backfill=ctx.read.branch != MAIN)
        return seal.row(run.experiment_id) if seal else None

    row = seals.write_seal(run.project, run.experiment_id, take, catalog)
    if row is None:
        return None
    seal = Seal.of(row)
    what = f"amended the sealed plan ({'; '.join(seal.changes)})" if seal.number else "sealed the plan"
    ctx.log(f"{what}: seal {seal.number}, plan {seal.plan_hash}")
    return seal
