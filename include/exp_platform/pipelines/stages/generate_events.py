"""Generate synthetic events: the scenario's data into the raw zone, unless they are there already."""

from __future__ import annotations

from exp_platform.pipelines.context import StageContext
from exp_platform.synth.faults import parse_fault
from exp_platform.synth.generate import generate, plan_of, sentence


def run(ctx: StageContext) -> None:
    """Options: `seed` (default the scenario's) and `fault` (NAME[:SIZE[:DAYS]], on top of the scenario's)."""
    faults = [parse_fault(text) for text in ctx.options.get("fault") or ()]
    plan = plan_of(ctx.project, ctx.experiment_id, ctx.options.get("seed"), faults)
    ctx.log(sentence(generate(ctx.project, plan, lambda: ctx.spark)))
