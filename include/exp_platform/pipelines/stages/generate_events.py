"""Generate the scenario's synthetic events into the raw zone, unless the same events are there already."""

from __future__ import annotations

from exp_platform.pipelines.context import StageContext
from exp_platform.synth.generate import generate, plan_of, sentence
from exp_platform.synth.planted_faults import parse_fault


def run(ctx: StageContext) -> None:
    """Generate with the run's seed, else the scenario's, and with the scenario's faults and those of the run."""
    options = ctx.run.options
    faults = [parse_fault(text) for text in options.fault]
    plan = plan_of(ctx.run.project, ctx.run.experiment_id, options.seed, faults)
    ctx.log(sentence(generate(ctx.run.project, plan, ctx.session)))
