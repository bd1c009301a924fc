"""May this code publish? It computes published runs again from their pinned inputs, and every number must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.lake.tables.names import DECISION
from exp_platform.operations.reproduce import Reproduction, reproduce
from exp_platform.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Again = Callable[[str], Reproduction]


@dataclass(frozen=True)
class Trial:
    """The reproductions of some published runs, and the runs that can't be computed again, with the reason."""

    code: str
    again: tuple[Reproduction, ...]
    refused: tuple[str, ...] = ()

    @property
    def may_publish(self) -> bool:
        """True when at least one run was computed again and each of them agrees."""
        return bool(self.again) and all(one.same for one in self.again)

    def text(self) -> str:
        """Every reproduction, the runs that were left out, and the verdict."""
        parts = [one.text() for one in self.again] + [f"left out: {reason}" for reason in self.refused]
        bad = sum(not one.same for one in self.again)
        if not self.again:
            verdict = "no published run can be computed again: nothing is known of this code"
        elif bad:
            verdict = f"{bad} of {len(self.again)} runs differ: read the differences before this code publishes"
        else:
            verdict = f"{len(self.again)} of {len(self.again)} runs agree in every number: this code may publish"
        return "\n\n".join([*parts, f"code {self.code}: {verdict}"])


def try_code(
    project: Project, experiments: int = 3, spark: SparkSession | None = None, again: Again | None = None
) -> Trial:
    """Compute the latest run of as many experiments again, the latest published first; `again` is for tests."""
    compute = again or (lambda run_id: reproduce(project, run_id, spark))
    done: list[Reproduction] = []
    refused: list[str] = []
    for run_id in latest_runs(project):
        if len(done) == experiments:
            break
        try:
            done.append(compute(run_id))
        except ConfigError as error:
            refused.append(str(error))
    return Trial(code_version(), tuple(done), tuple(refused))


def latest_runs(project: Project) -> Sequence[str]:
    """The run behind each experiment's latest decision, the newest first."""
    rows = read_rows(load_handle(project, DECISION), {"variant_id": "all"})
    latest = {row["experiment_id"]: row for row in sorted(rows, key=lambda row: row["dt"])}
    newest = sorted(latest.values(), key=lambda row: row["computed_at"], reverse=True)
    return [row["run_id"] for row in newest if row["experiment_id"] in project.experiments]
