"""The third shipped experiment moves from its own copy to streams in one lake: equal numbers, and an amendment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.ingest_lake import make_lake
from tests.stream_lake import ANSWERS, LOGS, Both, day, random_rows, rows_of, with_streams

from exp_platform.ledger.seals import seal_rows

KINDS = ("assignments", "exposures", "outcomes", "attributes")
THREE = "exp_pricing_test_003"
pytestmark = [pytest.mark.spark, pytest.mark.long]


def test_an_experiment_that_moves_to_streams_keeps_every_number_and_records_an_amendment(
    spark: Any, tmp_path: Path
) -> None:
    lake, files = make_lake(spark, tmp_path / "lake"), tmp_path / "files"
    # Both names stand for one lake: the experiment's copy, and the streams that it reads later.
    streams = {name: [f"all_{name}"] for name in KINDS}
    moved = replace(lake, project=with_streams(lake, files, streams, (THREE,)))
    both, random = Both(lake, moved, files), Random(3)
    lake.experiment_id = THREE
    for dataset in KINDS:
        first = 0 if dataset in LOGS else -12
        rows = random_rows(random, lake.project, dataset, 250, first, 4, (THREE,))
        both.write(dataset, rows)
        lake.write(dataset, [(THREE, *row) for row in rows[THREE]])
    before = both.answers(lake, THREE, "r1", day(3))
    assert all(before[table] for table in ("gold.fct_experiment_cohort", "gold.fct_experiment_metric_statistics"))
    for dataset in KINDS:
        both.ingest(f"all_{dataset}", "s1", day(3))
    after = both.answers(moved, THREE, "r2", day(3))
    for table in ANSWERS:
        assert after[table] == before[table], table
    assert rows_of(moved, "exp.assignments", THREE), "the rows of the copy stay, unread"
    sealed, amended = seal_rows(lake.project, THREE)
    assert sealed["changes"] == []
    assert amended["changes"] == [f"streams.{name}: not set → all_{name}" for name in sorted(KINDS)]
