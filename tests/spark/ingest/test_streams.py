"""One stream for many experiments gives each of them the numbers that a copy of its own gives, to the byte."""

from __future__ import annotations

from random import Random

import pytest
from tests.stream_lake import ONE, TWO, Both, day, make_both, random_rows

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def outcomes(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Two experiments with logs of their own, which read their outcomes from one stream."""
    return make_both(spark, tmp_path_factory.mktemp("outcomes"), {"outcomes": ["shop_events"]})  # type: ignore[arg-type]


def test_outcomes_of_a_stream_give_the_numbers_of_a_copy(outcomes: Both) -> None:
    random, project = Random(1), outcomes.copies.project
    for dataset in ("assignments", "exposures", "attributes"):
        rows = random_rows(random, project, dataset, 120, 0, 3)
        for lake in (outcomes.copies, outcomes.streamed):
            for one in (ONE, TWO):
                lake.experiment_id = one
                lake.write(dataset, [(one, *row) for row in rows[one]])
    outcomes.write("outcomes", random_rows(random, project, "outcomes", 400, -12, 4))
    outcomes.ingest("shop_events", "s1", day(2))
    outcomes.same("r1", day(2))
