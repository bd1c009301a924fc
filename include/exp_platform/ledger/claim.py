"""The claim on an experiment: only the run that claimed last may publish; other runs end with exit code 66."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import Table as IcebergTable

from exp_platform.config.load import Project
from exp_platform.errors import FencedConflict, Superseded
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.ops import overwrite_rows, read_rows
from exp_platform.lake.tables.names import RUN_CLAIM

ABANDONED_AFTER = timedelta(hours=12)  # a run that was killed never releases its claim
_ATTEMPTS = 20


@dataclass(frozen=True)
class Claim:
    """The run that may publish for an experiment; `attempt` counts the claims of the same run in a row."""

    experiment_id: str
    run_id: str
    dt: date
    attempt: int
    claimed_at: datetime
    started_by: str
    released_at: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """True when the run may still be at work: not released, and claimed less than 12 hours ago.

        A claim from the far future was made by a wrong clock; it must not keep maintenance away until then.
        """
        return self.released_at is None and abs(now - self.claimed_at) < ABANDONED_AFTER


def current_claim(project: Project, experiment_id: str, catalog: Catalog | None = None) -> Claim | None:
    """The claim on the experiment now; None when no run has ever claimed it."""
    return _held(load_handle(project, RUN_CLAIM, catalog), experiment_id)


def claim(
    project: Project, experiment_id: str, run_id: str, dt: date, started_by: str, now: datetime | None = None
) -> Claim:
    """Claim the experiment for a run; refused when a newer run took it from this run and is still at work."""
    at = now or datetime.now(UTC)

    def take(handle: IcebergTable, holder: Claim | None) -> Claim:
        again = holder is not None and holder.run_id == run_id
        if holder and not again and holder.is_active(at) and _has_claimed(handle, experiment_id, run_id):
            raise _superseded(experiment_id, run_id, holder)
        attempt = holder.attempt + 1 if holder and again else 1
        return Claim(experiment_id, run_id, dt, attempt, at, started_by)

    taken = _commit(project, experiment_id, take)
    assert taken is not None
    return taken


def check(project: Project, experiment_id: str, run_id: str, catalog: Catalog | None = None) -> None:
    """Raise Superseded when another run holds the claim."""
    holder = current_claim(project, experiment_id, catalog)
    if holder is not None and holder.run_id != run_id:
        raise _superseded(experiment_id, run_id, holder)


def release(project: Project, experiment_id: str, run_id: str, now: datetime | None = None) -> None:
    """Mark the run's claim as released, so that maintenance may work on the experiment; the run stays its holder."""
    at = now or datetime.now(UTC)
    _commit(
        project,
        experiment_id,
        lambda _, holder: replace(holder, released_at=at) if holder and holder.run_id == run_id else None,
    )


@contextmanager
def borrowed(
    project: Project, experiment_id: str, run_id: str, started_by: str, now: datetime | None = None
) -> Iterator[bool]:
    """Hold the claim for a `with` block unless a run is at work on the experiment; yields True when it is held.

    At the end the former claim is restored.
    """
    at = now or datetime.now(UTC)
    before: list[Claim | None] = []

    def take(_: IcebergTable, holder: Claim | None) -> Claim | None:
        before[:] = [holder]
        if holder is not None and holder.is_active(at):
            return None
        return Claim(experiment_id, run_id, holder.dt if holder else at.date(), 1, at, started_by)

    if _commit(project, experiment_id, take) is None:
        yield False
        return
    try:
        yield True
    finally:
        held = before[0]
        back = held or Claim(experiment_id, run_id, at.date(), 1, at, started_by, released_at=at)
        _commit(project, experiment_id, lambda _, holder: back if holder and holder.run_id == run_id else None)


def _commit(project: Project, experiment_id: str, take) -> Claim | None:  # type: ignore[no-untyped-def]
    """Let `take` decide on the present claim, then commit; a claimant that lost the race decides again."""
    for _ in range(_ATTEMPTS):
        handle = load_handle(project, RUN_CLAIM)
        wanted: Claim | None = take(handle, _held(handle, experiment_id))
        if wanted is None:
            return None
        try:
            key = {"experiment_id": experiment_id}
            overwrite_rows(handle, RUN_CLAIM, key, [asdict(wanted)], experiment_id=experiment_id, run_id=wanted.run_id)
            return wanted
        except (ValidationException, CommitFailedException):
            continue
    raise FencedConflict(
        f"{RUN_CLAIM}: {experiment_id} could not be claimed: others claimed it {_ATTEMPTS} times meanwhile"
    )


def _held(handle: IcebergTable, experiment_id: str) -> Claim | None:
    rows = read_rows(handle, {"experiment_id": experiment_id})
    return Claim(**rows[0]) if rows else None


def _has_claimed(handle: IcebergTable, experiment_id: str, run_id: str) -> bool:
    """True when this run has held the claim before; the table's history shows it until snapshots expire."""
    wanted = {"experiment_id": experiment_id, "run_id": run_id}
    return any(
        snapshot.summary is not None
        and all(snapshot.summary.additional_properties.get(k) == v for k, v in wanted.items())
        for snapshot in handle.metadata.snapshots
    )


def _superseded(experiment_id: str, run_id: str, holder: Claim) -> Superseded:
    return Superseded(
        f"superseded by run {holder.run_id} (dt {holder.dt}, claimed {holder.claimed_at:%Y-%m-%d %H:%M:%S} UTC by "
        f"{holder.started_by}): {run_id} publishes nothing more for {experiment_id}"
    )
