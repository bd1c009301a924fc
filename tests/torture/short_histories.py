"""Short histories at random on the books alone: runs go forth and back, are killed, stand still, lose an answer.

Two stages publish hand-made rows, one in a table that shows the latest dt and one in a table with dt; no Spark. After
each step both tables, the manifest and the audits are those of a model of a few lines.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from unittest import mock

import pytest
from pyiceberg.exceptions import CommitStateUnknownException
from sqlalchemy.exc import OperationalError
from tests.stages import made_of, opened
from tests.torture.histories import Step, shrunk
from tests.torture.points import POINTS, at_point, catalogs, ended, forked, stopped, writes_rows

from exp_platform.config.load import Project
from exp_platform.lake.catalog import load_catalog, load_handle
from exp_platform.lake.ops import read_rows
from exp_platform.ledger import manifest
from exp_platform.ledger.claim import claim

KINDS = ("run", "next day", "backfill", "killed", "killed", "stood still", "answer lost", "other experiment")
VERDICTS, DELTAS = "gold.fct_experiment_exposure_quality_daily", "exp.did_pretrend_delta"
STAGES = {VERDICTS: "validate_exposures", DELTAS: "analyze_results"}
FIRST = date(2026, 2, 1)
KNOWN = "exp_checkout_button_001"
IN_A_ROW = 20  # histories on the same tables
# What a client sees that never hears whether its commit was done, by the class of the catalog.
LOST: dict[str, Exception] = {
    "SqlCatalog": OperationalError("COMMIT", None, Exception("server closed the connection")),
    "RestCatalog": CommitStateUnknownException("the gateway timed out"),
}


@dataclass
class Published:
    """The model of one experiment: the number that each table must show, and for which dt."""

    latest: date | None = None
    verdicts: int = 0
    deltas: dict[date, int] = field(default_factory=dict)

    def finished(self, dt: date, number: int) -> None:
        """A run of a dt has published a number."""
        self.deltas[dt] = number
        if self.latest is None or dt >= self.latest:
            self.latest, self.verdicts = dt, number


@dataclass
class Books:
    """A lake in which a history is played under an experiment of its own."""

    project: Project
    one: str = KNOWN
    two: str = "exp_add_cart_002"
    models: dict[str, Published] = field(default_factory=dict)
    day: int = 0
    runs: int = 0

    def forget(self) -> None:
        """Empty the tables and the models, and drop the snapshots that were: each makes a commit dearer."""
        for table in (VERDICTS, DELTAS, manifest.RUN_MANIFEST, "ops.contract_results", "ops.run_claim"):
            for name in (self.one, self.two):
                load_handle(self.project, table).delete(f"experiment_id = '{name}'")
            handle = load_handle(self.project, table)
            kept = {ref.snapshot_id for ref in handle.metadata.refs.values()}
            old = [snapshot.snapshot_id for snapshot in handle.metadata.snapshots if snapshot.snapshot_id not in kept]
            if old:
                handle.maintenance.expire_snapshots().by_ids(old).commit()
        self.models, self.day = {self.one: Published(), self.two: Published()}, 0

    def histories(self, seeds: Iterable[int], length: int) -> list[str]:
        """Play the histories of some seeds, every twentieth with empty tables; return what was wrong."""
        said = []
        for number, seed in enumerate(seeds):
            if number % IN_A_ROW == 0:
                self.forget()
            said.append(self.history(seed, length))
        return [one for one in said if one]

    def history(self, seed: int, length: int) -> str:
        """Play the history of a seed from where the one before has ended; an empty text, or what was wrong.

        A failing history is shrunk from the beginning.
        """
        random = Random(seed)
        steps = [Step(random.choice(KINDS), random.randrange(1_000_000)) for _ in range(length)]

        def fails(some: Sequence[Step]) -> bool:
            self.forget()
            return any(self.problems(some))

        if not (found := list(self.problems(steps))):
            return ""
        needed = ", ".join(map(str, shrunk(steps, fails)))
        self.forget()
        return f"seed {seed}: {found}; needs only: {needed}"

    def problems(self, steps: Sequence[Step]) -> Iterator[str]:
        """One sentence for each difference from the model after the first step that shows one."""
        for place, step in enumerate(steps, 1):
            run_id, whose, early = self._happens(step, Random(step.number))
            found = [*early, *self._differences(whose, run_id)]
            if found:
                yield from (f"after step {place}, {step}: {sentence}" for sentence in found)
                return

    def _happens(self, step: Step, random: Random) -> tuple[str, str, list[str]]:
        self.runs += 1
        whose = self.two if step.kind == "other experiment" else self.one
        self.day += step.kind == "next day"
        day = random.randrange(self.day + 1) if step.kind == "backfill" else self.day
        dt, run_id, number = FIRST + timedelta(days=day), f"run_{self.runs}", random.randrange(1, 1000)
        claim(self.project, whose, run_id, dt, "test")
        harmed = random.choice(list(STAGES))
        if harmed == DELTAS and step.kind in ("killed", "stood still", "answer lost"):
            self._publish(VERDICTS, whose, dt, run_id, number)
        harm = {"killed": self._kill, "stood still": self._stand_still, "answer lost": self._lose}.get(step.kind)
        early: list[str] = []
        if harm is None:
            self._work(whose, dt, run_id, number)
        else:
            work = lambda: self._publish(harmed, whose, dt, run_id, number)  # noqa: E731
            early = harm(random, work, lambda: self._work(whose, dt, run_id, number))
        self.models[whose].finished(dt, number)
        return run_id, whose, early

    def _kill(self, random: Random, work: Callable[[], None], again: Callable[[], None]) -> list[str]:
        def action() -> None:
            with at_point(random.choice(list(POINTS)), lambda: os.kill(os.getpid(), signal.SIGKILL)):
                work()

        end = ended(forked(action))
        again()
        return [] if end.signal == signal.SIGKILL else [f"the driver was not killed: {end}"]

    def _stand_still(self, _: Random, work: Callable[[], None], again: Callable[[], None]) -> list[str]:
        def action() -> None:
            with at_point("at the commit", lambda: os.kill(os.getpid(), signal.SIGSTOP)):
                work()

        child = forked(action)
        came = stopped(child)
        again()
        if not came:
            return ["the driver did not come to its commit"]
        os.kill(child, signal.SIGCONT)
        end = ended(child)
        return [] if end.code == 75 else [f"the driver that stood still ended with {end}, expected exit 75"]

    def _lose(self, _: Random, work: Callable[[], None], again: Callable[[], None]) -> list[str]:
        known = next(one for one in catalogs() if isinstance(load_catalog(self.project), one))
        original, lost = known.commit_table, LOST[known.__name__]

        def commit(catalog: Any, table: Any, *rest: Any) -> Any:
            done = original(catalog, table, *rest)
            if writes_rows(catalog, table):
                raise lost
            return done

        with mock.patch.object(known, "commit_table", commit), pytest.raises(type(lost)):
            work()
        again()
        return []

    def _work(self, whose: str, dt: date, run_id: str, number: int) -> None:
        for table in STAGES:
            self._publish(table, whose, dt, run_id, number)

    def _publish(self, table: str, whose: str, dt: date, run_id: str, number: int) -> None:
        with opened(self.project, whose, dt, run_id, made_of(STAGES[table])) as ctx:
            ctx.publish(table, ROWS[table](whose, dt, run_id, number), inputs={"number": str(number)})

    def _differences(self, ran: str, run_id: str) -> Iterator[str]:
        for name, model in self.models.items():
            shown = {table: read_rows(load_handle(self.project, table), {"experiment_id": name}) for table in STAGES}
            verdicts = sorted(row["detail"] for row in shown[VERDICTS])
            if model.latest and verdicts != [f"{model.verdicts}"] * 2:
                yield f"{name}: verdicts are {verdicts}, expected two of {model.verdicts}"
            deltas = sorted((row["dt"], row["delta"]) for row in shown[DELTAS])
            if deltas != sorted((dt, float(number)) for dt, number in model.deltas.items() for _ in range(2)):
                yield f"{name}: deltas are {deltas}, expected two of each of {model.deltas}"
        rows = manifest.run_rows(self.project, ran, run_id)
        books = {(row["table"], row["status"]) for row in rows if row["role"] == "published"}
        if books != {(table, "ok") for table in STAGES}:
            yield f"{ran}: the manifest of {run_id} says {sorted(books)}"
        found = read_rows(load_handle(self.project, "ops.contract_results"), {"experiment_id": ran, "run_id": run_id})
        if {row["table"] for row in found} != set(STAGES):
            yield f"{ran}: {run_id} has no audit of {set(STAGES) - {row['table'] for row in found}}"


def _verdicts(whose: str, _: date, __: str, number: int) -> list[dict[str, Any]]:
    common = {"experiment_id": whose, "check_name": "exposure_logging", "status": "ok", "detail": f"{number}"}
    return [common | {"date": date(2026, 1, day)} for day in (1, 2)]


def _deltas(whose: str, dt: date, run_id: str, number: int) -> list[dict[str, Any]]:
    common = {"experiment_id": whose, "dt": dt, "metric_name": "revenue", "variant_id": "treatment"}
    told = {"delta": float(number), "run_id": run_id, "computed_at": datetime(2026, 2, 2, tzinfo=UTC)}
    return [common | told | {"relative_day": -day} for day in (1, 2)]


ROWS: dict[str, Callable[..., list[dict[str, Any]]]] = {VERDICTS: _verdicts, DELTAS: _deltas}
