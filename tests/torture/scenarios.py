"""All scenarios of `make torture`, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.torture import clocks, events, own_jvm, processes, stores, together, upkeep, weak_store
from tests.torture.bench import Scenario
from tests.torture.small_world import ARITHMETIC, INPUTS

from exp_platform.pipelines.registry import Stage

_LONGER_THAN_THE_CATALOG_WAITS = 35.0


def of_arithmetic() -> Iterator[Scenario]:
    """Those of the stages that need no Spark."""
    publishing = ARITHMETIC[1:]
    yield from processes.kills(ARITHMETIC)
    yield from processes.terminations(publishing)
    yield from processes.stood_still(ARITHMETIC)
    yield from processes.lost_answers(ARITHMETIC)
    for stage in publishing:
        yield from stores.stores([stage])
    yield from events.zones("arithmetic")
    yield stores.locked_for_long(ARITHMETIC[1], _LONGER_THAN_THE_CATALOG_WAITS)
    yield from stores.lost_catalogs(ARITHMETIC[1])
    yield stores.full_catalog(ARITHMETIC[1])
    yield together.several_experiments(ARITHMETIC[-1], INPUTS)
    yield together.reader(ARITHMETIC[-1])
    yield from together.schema_changes(publishing)
    yield from clocks.clocks()


def of_store() -> Iterator[Scenario]:
    """Those of a warehouse in an object store; arithmetic writes to it as Spark does."""
    yield from weak_store.weak_stores(ARITHMETIC[1])


def of_spark(stages: Sequence[Stage]) -> Iterator[Scenario]:
    """Those of the stages with Spark and of the memo."""
    wanted = [stage for stage in stages if stage not in ARITHMETIC]
    publishing = [stage for stage in wanted if stage.publishes]
    yield from processes.kills(wanted)
    yield from processes.terminations(publishing)
    yield from processes.stood_still(publishing)
    yield from stores.stores(publishing)
    yield from processes.cleanings(publishing)
    yield stores.full_memos(wanted[-1])
    yield from own_jvm.own_jvms(publishing[1])
    yield from together.schema_changes(publishing[1:2])
    yield upkeep.beside_a_run(publishing[-1])
    yield upkeep.canary()
    yield upkeep.trial_of_code()
    yield events.odd_events()
    yield events.before_the_start()
    yield from events.zones("every stage with Spark", publishing[-1])
