"""Small versions of the calibration of clusters and of whole numbers: every promise is kept."""

from __future__ import annotations

import numpy as np
import pytest

from exp_platform.calibration import clusters, integers
from exp_platform.calibration.findings import Promise
from exp_platform.stats.quantile import Histogram, quantile_arm


def test_every_promise_on_clusters_is_kept() -> None:
    found = list(clusters.rows(np.random.default_rng(1), 400))
    assert [f for f in found if not f.kept] == []
    assert {f.promise for f in found} == {Promise.AT_MOST, Promise.EXCEEDS, Promise.REPORTED}


def test_every_promise_on_whole_numbers_is_kept() -> None:
    found = list(integers.rows(np.random.default_rng(2), 60))
    assert [f for f in found if not f.kept] == []


@pytest.mark.parametrize("case", integers.CASES, ids=lambda case: case.name)
def test_the_stated_truth_is_that_of_many_units(case: integers.Integers) -> None:
    """On a step the two arms of a case draw from one distribution, where the truth is no difference."""
    if case.same:
        assert case.truth == 0
        return
    rng, n = np.random.default_rng(3), 400_000
    quantiles = [
        float(quantile_arm(Histogram.from_values(draw(rng, n), np.arange(n)), case.quantile).mean)
        for draw in (case.control, case.treatment)
    ]
    # Beside a step, and where a bin holds more than one whole number, the last of them is open.
    tolerance = 1.0 if "step" in case.name or quantiles[1] > 370 else 0.0
    assert abs(quantiles[1] - quantiles[0] - case.truth) <= tolerance
