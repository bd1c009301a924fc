"""Generate one experiment's folder in the raw zone: draw, apply faults, write a new folder, check it, swap it in.

The file `_truth.json` holds the true effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exp_platform.config.load import Project
from exp_platform.config.models import Fault
from exp_platform.errors import ConfigError
from exp_platform.synth.folder import Folder
from exp_platform.synth.generation import SynthPlan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MARKER = "_synthetic.json"
TRUTH = "_truth.json"
KEEP_USERS = 100_000


@dataclass(frozen=True)
class Generated:
    """The generated folder and the rows of each dataset; `changed` is False when the same data were there already."""

    folder: str
    rows: dict[str, int]
    changed: bool


def plan_of(
    project: Project, experiment_id: str, seed: int | None = None, faults: Iterable[Fault] | None = None
) -> SynthPlan:
    """The plan for an experiment's scenario; the given faults are added to those of the scenario."""
    from exp_platform.synth.planted_faults import resolve_faults

    experiment, scenario = project.experiment(experiment_id), project.scenario(experiment_id)
    healthy = SynthPlan(experiment, scenario, project.metrics_of(experiment), scenario.seed if seed is None else seed)
    broken = resolve_faults((*scenario.faults, *(faults or ())), healthy)
    return SynthPlan(experiment, scenario, healthy.metrics, healthy.seed, broken)


def generate(project: Project, plan: SynthPlan, session: Callable[[], SparkSession]) -> Generated:
    """Write the plan's data into the raw zone, unless they are there; replaces only folders of the generator."""
    if not project.profile.synthetic:
        raise ConfigError(
            f"{project.path.name}: synthetic: found false; generated data may not be mixed with real ones. "
            "Use a profile that says synthetic: true, such as configs/dev.yaml"
        )
    folder = Folder.of_experiment(project, plan.experiment_id)
    new = folder.sibling("_new_")
    marker = folder.read_json(MARKER)
    fingerprint = plan.fingerprint()
    if marker is not None and _same(marker, fingerprint):
        return Generated(folder.url, marker["rows"], changed=False)
    # A complete new folder beside it means that an earlier generation was interrupted while it swapped the folders.
    if marker is None and folder.files() and new.read_json(MARKER) is None:
        raise ConfigError(
            f"{folder.url}: holds files that the generator did not write (no {MARKER}); it overwrites only its own. "
            "Move them away, or take another experiment id"
        )
    new.delete()
    rows = _write(new, plan, session(), fingerprint)
    folder.replace_with(new, last=MARKER)
    return Generated(folder.url, rows, changed=True)


def _same(marker: Any, fingerprint: dict[str, Any]) -> bool:
    return isinstance(marker, dict) and marker.get("fingerprint") == fingerprint["fingerprint"] and "rows" in marker


def _write(folder: Folder, plan: SynthPlan, spark: SparkSession, fingerprint: dict[str, Any]) -> dict[str, int]:
    from exp_platform.synth.frames import draw
    from exp_platform.synth.planted_faults import apply_to_files, apply_to_rows, breaks_contract
    from exp_platform.synth.truth import true_effects
    from exp_platform.synth.write import check_written, count_rows, write_frames

    world = draw(spark, plan)
    if plan.scenario.n_users <= KEEP_USERS:
        world.candidates.persist()  # used twice; with more users they are drawn twice, which needs no memory
    try:
        write_frames(apply_to_rows(world.frames, plan), folder, plan)
        apply_to_files(folder, plan)
        if not breaks_contract(plan):
            check_written(folder, plan)
        effects = true_effects(world.users, world.candidates, plan)
    finally:
        world.candidates.unpersist()
    folder.write_json(TRUTH, {"experiment_id": plan.experiment_id, "seed": plan.seed, "effects": effects})
    rows = count_rows(folder)
    folder.write_json(MARKER, fingerprint | {"rows": rows})
    return rows


def sentence(done: Generated) -> str:
    """The line about a generation for the task log."""
    rows = ", ".join(f"{count:,} {name}" for name, count in done.rows.items())
    return f"{'wrote' if done.changed else 'reused'} {rows} in {done.folder}"
