"""Scenarios of time: raw events at odd times, and runs in other time zones, change no answer and stop no run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.torture.bench import Bench, NotPossible, Scenario
from tests.torture.points import ended, forked
from tests.torture.world import DAY, START, Row

from exp_platform.lake.catalog import load_handle
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import ANALYSIS_RESULTS, STATISTICAL_VALIDATION
from exp_platform.pipelines.registry import Stage
from exp_platform.pipelines.run import Run

ODD = {
    "the year 1": datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    "the year 1900": datetime(1900, 3, 1, tzinfo=UTC),
    "29 February 2024": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "the hour that summer time leaves out": datetime(2025, 3, 30, 1, 30, tzinfo=UTC),
    "the first instant after the day": START + 4 * DAY,
    "the year 2999": datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "the last microsecond of the year 9999": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
}

ZONES = ("America/Los_Angeles", "Asia/Kathmandu", "Pacific/Auckland", "Pacific/Kiritimati")


def zones(what: str, last: Stage | None = None, names: Iterable[str] = ZONES) -> Iterator[Scenario]:
    """The process and the session of a run are in another zone, some of them with another date than UTC."""
    for name in names:
        yield Scenario(
            "time",
            f"{what} in {name}",
            "the process's clock and the Spark session show that zone's time; the day is run",
            "exit 0",
            "before sync_registry",
            partial(_in_zone, name, last),
            last=last,
        )


def before_the_start() -> Scenario:
    """A run of a day on which the experiment had not begun, after later days are published."""
    return Scenario(
        "time",
        "a run as of the day before the start",
        "the day before the start is run although a later one is published; then the day is run",
        "both runs end; nobody is analysed before the start",
        "before sync_registry",
        _before_the_start,
        may_differ=tuple(name for name, table in TABLES.items() if table.has_dt),
    )


def odd_events() -> Scenario:
    """Purchases of a user of the day at odd times: none lies in a window, so that no answer may change."""
    return Scenario(
        "time",
        "purchases at odd times",
        f"a file lands with purchases at these times: {', '.join(ODD)}; the day is run",
        f"the run ends; {2 * len(ODD)} of {2 * len(ODD)} purchases are held",
        "before sync_registry",
        _land,
        may_differ=("exp.outcomes", STATISTICAL_VALIDATION),  # it holds the share of rows that repeat another
        changes_raw=True,
    )


def _in_zone(name: str, last: Stage | None, bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    if not Path("/usr/share/zoneinfo", name).exists():
        raise NotPossible(f"this machine does not know the zone {name}")

    def action() -> None:
        os.environ["TZ"] = name
        time.tzset()
        if world.spark is not None:
            world.spark.conf.set("spark.sql.session.timeZone", name)
        world.stages(run, world.up_to(last or world.plan[-1]))

    return str(ended(forked(action))), run


def _before_the_start(bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    early = (START - DAY).date()
    world.stages(world.run("early", early))
    rows = load_handle(world.project, ANALYSIS_RESULTS).scan(row_filter=f"dt = '{early}'").to_arrow()
    analysed = max((n or 0 for n in rows["control_n"].to_pylist()), default=0)
    world.stages(run)
    return f"both runs end; {'nobody is' if not analysed else f'{analysed} are'} analysed before the start", run


def _land(bench: Bench) -> tuple[str, Run]:
    world, run = bench.world, bench.world.run()
    rows: list[Row] = [("u1_4", name, 5.0, at) for at in ODD.values() for name in ("revenue", "conversion")]
    world.land(world.one, "outcomes", 3, rows, "odd.parquet")
    world.stages(run)
    moments = ", ".join(
        str((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)) for at in ODD.values()
    )
    assert world.spark is not None
    found = world.spark.table("iceberg.exp.outcomes").where(
        f"experiment_id = '{world.one}' AND user_id = 'u1_4' AND unix_micros(outcome_ts) IN ({moments})"
    )
    return f"the run ends; {found.count()} of {len(rows)} purchases are held", run
