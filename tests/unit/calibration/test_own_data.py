"""`exp calibrate`: A/A on a team's own statistics, without reading unit rows."""

from __future__ import annotations

from tests import hand_made as hm

from exp_platform.calibration.own_data import Calibrated, calibrate, describe


def test_a_real_effect_is_dealt_away_and_every_metric_and_method_has_a_row():
    metrics = [hm.metric("revenue"), hm.metric("clicks", "ratio"), hm.metric("latency", "quantile")]
    units = [hm.draw_units(i, 1500, effects={"treatment": 1.0}, kind=m.type) for i, m in enumerate(metrics)]
    found = calibrate(hm.statistics(list(zip(metrics, units, strict=True))), metrics, hm.experiment(metrics), 300, 1)
    assert [(row.metric, row.method) for row in found] == [
        ("revenue", "ab"),
        ("revenue", "cuped"),
        ("clicks", "ab"),
        ("clicks", "cuped"),
        ("latency", "ab"),
    ]
    assert [row.deals for row in found] == [300, 300, 300, 300, 200]
    assert all(row.rate < 0.15 for row in found)


def test_the_same_seed_deals_the_same():
    metric = hm.metric("revenue")
    table = hm.statistics([(metric, hm.draw_units(3, 1000))])
    first, second = (calibrate(table, [metric], hm.experiment([metric]), 100, 7) for _ in range(2))
    assert first == second


def test_a_metric_without_an_answer_has_no_rate_and_says_so():
    metric = hm.metric("revenue")
    units = hm.draw_units(4, 600)
    units.y[:] = 7.0
    found = calibrate(hm.statistics([(metric, units)]), [metric], hm.experiment([metric]), 50, 1)
    assert {(row.deals, row.rate, row.kept) for row in found} == {(0, None, False)}
    text = describe(found, hm.experiment([metric]))
    assert "no answer" in text
    assert text.splitlines()[-1].startswith("No metric has an answer, so nothing is shown")


def test_rows_without_an_answer_are_not_counted_among_those_that_keep_alpha():
    rows = [
        Calibrated("orders", "ab", 1000, 0.049, 0.01, 0.09, True),
        Calibrated("refunds", "ab", 0, None, 0.0, 1.0, False),
    ]
    last = describe(rows, hm.experiment([hm.metric("orders")])).splitlines()[-1]
    assert last == "Every metric's false positives lie in the band that alpha promises (1 of 2 rows have no answer)."


def test_the_table_for_the_terminal_names_what_is_outside_its_band():
    rows = [
        Calibrated("revenue", "ab", 1000, 0.094, 0.01, 0.09, False),
        Calibrated("orders", "ab", 1000, 0.049, 0.01, 0.09, True),
    ]
    text = describe(rows, hm.experiment([hm.metric("revenue")]))
    assert "revenue  ab       1000    9.4%    1.0% to 9.0%  <- outside" in text
    assert text.splitlines()[-1].startswith("Outside its band: revenue.")
    assert describe(rows[1:], hm.experiment([hm.metric("revenue")])).endswith("in the band that alpha promises.")
