"""The calibration page's studies, smaller and with fixed seeds: the promises hold, and broken methods are caught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exp_platform.calibration import __main__ as command
from exp_platform.calibration import (
    calibration_page as page,
)
from exp_platform.calibration import (
    daily_looks,
    decisions,
    edges,
    exposed,
    gates,
    moved_ends,
    one_look,
    plot,
)
from exp_platform.calibration import (
    dealt_buckets as buckets,
)
from exp_platform.calibration import (
    past_faults as faults,
)
from exp_platform.calibration.findings import UNMEASURED, Measured, Promise
from exp_platform.calibration.worlds import BINARY, COUNT, MEAN, WORLDS, simulate, simulate_buckets
from exp_platform.stats.ab import against_control, mean_arm, mean_effect
from exp_platform.stats.complier import gap
from exp_platform.stats.quantile import Histogram
from exp_platform.stats.sufficient import SufficientStatistics

pytestmark = pytest.mark.slow  # forty seconds of simulations


def rng() -> np.random.Generator:
    return np.random.default_rng(20260201)


def broken(findings: list[Measured]) -> list[Measured]:
    return [found for found in findings if not found.kept]


@pytest.mark.parametrize(
    ("study", "experiments"),
    [
        (one_look.false_positives, 400),
        (one_look.coverage, 400),
        (one_look.power, 250),
        (one_look.imputed_covariate, 500),
        (one_look.unlike_slopes, 800),
        (one_look.few_denominators, 800),
        (edges.false_positives, 3000),
        (edges.relative_coverage, 400),
        (edges.daily_looks, 200),
        (edges.guardrails, 300),
        (faults.rows, 400),
        (one_look.quantiles, 100),
        (daily_looks.interval_coverage, 100),
        (gates.sample_ratio, 8000),
        (gates.guardrails, 80),
        (gates.pre_trends, 300),
        (gates.secondary_metrics, 200),
        (decisions.decision_errors, 150),
        (buckets.study, 800),
        (exposed.rows, 250),
        (moved_ends.rows, 300),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_promise_is_kept_within_monte_carlo_error(study: object, experiments: int) -> None:
    findings = list(study(rng(), experiments))
    assert findings
    assert broken(findings) == []


def test_thirty_daily_looks_break_the_fixed_test_and_not_the_confidence_sequence() -> None:
    findings, looks = daily_looks.false_alarms(rng(), 250)
    assert broken(findings) == []
    assert looks.naive[-1] > 0.15
    assert looks.anytime[-1] <= 0.05
    assert (np.diff(looks.naive) >= 0).all()


def test_a_wrong_standard_error_would_be_caught() -> None:
    """Errors 15% too small, as when clustering or the control arm's term is forgotten."""
    effect = mean_effect(simulate(COUNT, rng(), 2000, (500, 500)))
    narrow = np.abs(effect.effect_abs) > 1.96 * 0.85 * effect.se_abs
    found = Measured("", "", Promise.EQUALS, 0.05, float(narrow.mean()), narrow.size)
    assert not found.kept


@pytest.mark.parametrize("world", [edges.SPEND, edges.RARE], ids=["revenue", "binary"])
def test_an_error_that_the_small_arm_shows_alone_would_be_caught(world: edges.SumsWorld) -> None:
    arms = edges.simulate_sums(world, rng(), 2000, (4_500, 500))
    own = against_control(mean_arm(arms)).p_value
    hits = np.where(np.isfinite(own), own, 1.0) < 0.05
    found = Measured("", "", Promise.AT_MOST, 0.05, float(hits.mean()), hits.size)
    assert not found.kept


def test_the_delta_method_would_be_caught() -> None:
    """Its interval of a relative effect lies too low: it misses on one side only."""
    effect = mean_effect(edges.simulate_sums(edges.SPEND, rng(), 1000, (2_000, 2_000), 0.1))
    high = effect.effect_rel + 1.96 * effect.se_rel
    missed = (high < 0.1)[np.isfinite(high)]
    found = Measured("", "", Promise.AT_MOST, 0.025, float(missed.mean()), missed.size)
    assert not found.kept


def test_an_effect_on_the_unexposed_is_seen_by_the_agreement_check() -> None:
    pair = exposed.split_by_exposure(exposed.SPEND, rng(), 100, (1_000, 1_000), 0.6, 0.3, spill=1.0)
    assert (gap(*pair).p_value < 0.001).mean() > 0.9


@pytest.mark.parametrize("world", [edges.SPEND, edges.RARE, edges.TENTH], ids=lambda world: world.name)
def test_sums_drawn_without_units_have_the_mean_and_the_days_that_they_claim(world: edges.SumsWorld) -> None:
    sums = edges.simulate_sums(world, rng(), 300, (900, 100), 0.1, days=30)
    assert sums.n[:, 0, 9].tolist() == [9_000, 1_000]
    assert (np.diff(sums.yy, axis=-1) >= 0).all()
    assert sums.y[0, :, -1].mean() / 27_000 == pytest.approx(world.base, rel=0.1)
    assert sums.y[1, :, -1].mean() / 3_000 == pytest.approx(1.1 * world.base, rel=0.2)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_simulated_units_have_the_mean_that_the_world_claims(world: object) -> None:
    units = world.draw(rng(), (400, 1000), 0.1)
    level = units.y.sum() / (units.d.sum() if world.ratio else units.y.size)
    assert level == pytest.approx(1.1 * world.base, rel=0.02)


def test_cumulative_looks_end_in_the_whole_experiment() -> None:
    days = simulate(BINARY, rng(), 5, (300, 300), days=30)
    assert days.lead == (2, 5, 30)
    whole = simulate(BINARY, rng(), 5, (300, 300))
    assert days.yy[..., -1] == pytest.approx(whole.yy[..., 0])
    assert days.n[0, 0, 9] == 100


def test_dealing_buckets_hides_a_real_effect() -> None:
    arms = simulate_buckets(MEAN, rng(), 5000, lift=0.5)
    assert mean_effect(arms.sum(axis=1)).p_value[0] < 1e-9
    dealt = buckets.bucket_aa(arms.sum(axis=0), mean_effect, rounds=800, seed=3)
    assert dealt.kept
    assert dealt.rounds == 800


def test_dealing_buckets_sees_units_that_are_not_independent() -> None:
    """Every unit counted five times, as when rows are sessions and not users: errors are far too small."""
    merged = simulate_buckets(MEAN, rng(), 5000, lift=0.0).sum(axis=0)
    repeated = SufficientStatistics(**{name: 5 * value for name, value in vars(merged).items()})
    dealt = buckets.bucket_aa(repeated, mean_effect, rounds=300)
    assert dealt.rate > 0.2
    assert not dealt.kept


def test_bucket_deals_cover_several_metrics_at_once_and_null_where_there_is_no_answer() -> None:
    first = simulate_buckets(MEAN, rng(), 1500, lift=0.0).sum(axis=0)
    empty = SufficientStatistics(**{name: np.zeros_like(value) for name, value in vars(first).items()})
    both = SufficientStatistics(**{n: np.stack([vars(first)[n], vars(empty)[n]], axis=1) for n in vars(first)})
    found = buckets.bucket_aa(both, mean_effect, rounds=200)
    assert found.rounds.tolist() == [200, 0]
    assert found.kept.tolist() == [True, False]
    assert np.isnan(found.rate[1])


def test_buckets_of_a_quantile_metric_are_dealt_too() -> None:
    source = rng()
    histogram = Histogram.from_values(source.lognormal(5, 1, 8000), np.arange(8000))
    found = buckets.bucket_aa_quantile(histogram, 0.9, rounds=150, seed=1)
    assert found.rounds == 150
    assert found.rate < 0.15


def test_the_page_and_its_charts_say_what_was_found(tmp_path: Path) -> None:
    kept = Measured("A/A, one look", "count, ab, absolute", Promise.EQUALS, 0.05, 0.048, 2000)
    lost = Measured("A/A, one look", "count < 1, did, absolute", Promise.EQUALS, 0.05, 0.12, 2000)
    text = page.render([kept, lost], seed=7, charts="x")
    assert "**1 of 2 promises kept**" in text
    assert "before" not in text.split("## ", 1)[1]
    mended = Measured("A/A, uneven arms and rare events", "rare", Promise.AT_MOST, 0.05, 0.048, 2000, before=0.277)
    page_of_mended = page.render([mended], 7, "x")
    assert "| rare | at most 5.0% | 3.4% to 6.6% | 4.8% | 27.7% | 2,000 | yes |" in page_of_mended
    first = page_of_mended.split("## ")[1]
    assert first.startswith("Measured faults of earlier versions")
    assert "| A/A, uneven arms and rare events: rare | at most 5.0% | 27.7% | 4.8% | 2,000 | yes |" in first
    assert "| count, ab, absolute | equals 5.0% | 3.4% to 6.6% | 4.8% | 2,000 | yes |" in text
    assert "12.0% | 2,000 | **no** |" in text
    chart = plot.findings_chart([kept, lost], "False positives")
    assert chart.count("<circle") == 2
    assert "count &lt; 1" in chart
    curves = daily_looks.Looks(np.linspace(0.05, 0.28, 30), np.linspace(0, 0.01, 30), np.linspace(0, 0.05, 30))
    assert plot.looks_chart(curves, 0.05).count("<polyline") == 3


@pytest.mark.parametrize(("rate", "code"), [(0.048, 0), (0.12, 1)], ids=["all kept", "one broken"])
def test_the_command_writes_page_and_charts_and_fails_when_a_promise_is_broken(
    rate: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Measured("A/A, one look", "count, ab, absolute", Promise.EQUALS, 0.05, rate, 2000)]
    curves = daily_looks.Looks(*(np.linspace(0, end, 30) for end in (0.28, 0.01, 0.05)))
    monkeypatch.setattr(command, "run", lambda experiments, seed, log: (findings, curves))
    assert command.main(["--out", str(tmp_path / "page.md"), "--quick"]) == code
    assert sorted(file.name for file in tmp_path.iterdir()) == ["page.md", "page_looks.svg", "page_one_look.svg"]
    assert "page_looks.svg" in (tmp_path / "page.md").read_text()
    assert ("not kept: A/A, one look: count, ab, absolute" in capsys.readouterr().out) == bool(code)


def test_every_fault_that_was_measured_is_a_row_with_what_it_was_and_another_split_beside_it() -> None:
    """Small and without a verdict: the rows are there."""
    rows = [
        found
        for study in command._studies(20)
        if not study[0].startswith(("one_look.power", "daily_looks", "decisions", "dealt_buckets"))
        for found in study[1](rng())
        if found.before is not None
    ]
    told = " / ".join(found.case for found in rows)
    for fault in (
        "binary 0.5%, 19,000 against 1,000",
        "lognormal, sigma 2), 18,000 against 2,000",
        "180 + 20 units a day",
        "20,000 against 20,000 units (",
        "harm is exactly the margin, yet passes",
        "stops within 30 days",
        "no event in treatment, 1,800 against 200",
        "quantile 0.95 of values that are 0 for 95%, relative",
        "DiD of a metric without an event in its window, 309 against 40",
        "rate 3 against 4, 50/50: covered",
        "5 of 200 units",
        "pre-trends of 5 and 5 clusters",
        "`cluster: store` alone",
        "18 and 2 clusters: any answer",
        "without a word on few_clusters",
        "wider than plain, slopes 1 and -1, 90/10",
        "50/50 that is 51/49",
        "said to have no variance",
        "alpha 1e-09",
        "mean, ab, 50/50: sealed plan",
    ):
        assert fault in told, fault
    known = [found for found in rows if found.before != UNMEASURED]
    assert 40 <= len(known) < len(rows) - 20
