"""Scenarios of a stage in a process of its own, whose JVM is killed, has no memory left, or no disk to spill to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tests.sessions import INTERPRETED
from tests.torture.bench import Bench, Scenario
from tests.torture.processes import ALL_OR_NOTHING
from tests.torture.stores import filled, small_disk

from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds after which a driver is taken to hang
SPILL_FREE = 4096  # bytes that the disk of shuffles has left


def own_jvms(stage: Stage) -> Iterator[Scenario]:
    """Each harm to the JVM of a stage with Spark, before it writes; then the stage is tried again."""
    harms: dict[str, tuple[str, str, dict[str, Any]]] = {
        "its JVM alone is killed": ("kill_jvm", "kill -9 of the Java process, not of the driver in Python", {}),
        "its heap is full": ("fill_heap", "a heap of 512 MB, of which all but a few MB are taken", {}),
        "the disk of shuffles is full": ("none", "4 KB are free in spark.local.dir", {"spill": True}),
    }
    for what, (harm, done, options) in harms.items():
        yield Scenario(
            "memory and JVM",
            f"{stage.name}: {what}",
            f"{done}; the stage is tried again",
            f"exit 1; {ALL_OR_NOTHING}",
            f"before {stage.name}",
            partial(_harm, stage, harm, **options),
            last=stage,
        )


def _harm(stage: Stage, harm: str, bench: Bench, *, spill: bool = False) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    local = world.project.root / "local"
    with small_disk(local) if spill else nullcontext(local):
        if spill:
            filled(local, SPILL_FREE)
        profile = _profile(world.project.path, local)
        command = [sys.executable, "-m", "tests.torture.driver", harm, stage.name, f"--config={profile}"]
        command += [f"--experiment-id={run.experiment_id}", f"--dt={run.dt}", f"--run-id={run.run_id}"]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
            end = f"exit {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
        except subprocess.TimeoutExpired:
            end = "the driver hangs"
    seen = f"{end}; {'; '.join(bench.half_published(stage)) or ALL_OR_NOTHING}"
    world.stages(run, [stage])
    return seen, run


def _profile(path: Path, local: Path) -> Path:
    """A profile beside the world's own, with a small heap and a local folder."""
    content = yaml.safe_load(path.read_text())
    conf = {"spark.local.dir": str(local)} | INTERPRETED
    content["spark"] |= {"driver_memory": "512m", "conf": conf}
    small = path.with_name("small.yaml")
    small.write_text(yaml.safe_dump(content, sort_keys=False))
    return small
