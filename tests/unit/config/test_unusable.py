"""Days that can't be used and acknowledged checks: what is refused, what they mean, and that nobody else is touched."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml

from exp_platform.config.load import Project, _hashed_experiment, load_project
from exp_platform.config.models import Acknowledgement, Exclusion
from exp_platform.config.models.unusable import DAILY_CHECKS, NEVER_ACKNOWLEDGED, RESULT_CHECKS, excluded_dates
from exp_platform.quality import outcome_volume, verdicts

ID = "exp_checkout_button_001"  # from 5 January to 1 February
FILE = f"configs/experiments/{ID}.yaml"


def exclusion(dates: Any, what: str = "exposures", reason: str = "a lost queue", by: str = "ana") -> dict[str, Any]:
    return {"dates": dates, "what": what, "reason": reason, "by": by}


def acknowledgement(check: str, **keys: Any) -> dict[str, Any]:
    return {"check": check, "reason": "known", "by": "ana"} | keys


def loaded(project: Project, **keys: Any) -> Project:
    path = project.root / FILE
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys, sort_keys=False))
    return load_project(project.path)


JANUARY = [f"2026-01-{day:02}" for day in range(5, 32)]

MISTAKES = [
    ({"exclude": [exclusion("2026-03-01")]}, "exclude.0.dates: found 2026-03-01, but exposures of this experiment lie"),
    ({"exclude": [exclusion("2026-02-02")]}, "lie between 2026-01-05 and 2026-02-01"),
    ({"exclude": [exclusion("2026-01-04", "assignments")]}, "exclude.0.dates: found 2026-01-04, but assignments"),
    ({"exclude": [exclusion("2026-01-10", "clicks")]}, "exclude.0.what: found 'clicks'"),
    ({"exclude": [exclusion("tomorrow")]}, "exclude.0.dates.0: found 'tomorrow'"),
    ({"exclude": [exclusion([])]}, "exclude.0.dates: found none, name at least one date"),
    (
        {"exclude": [exclusion(["2026-01-10", "2026-01-10"])]},
        "exclude.0.dates: 2026-01-10 is there twice for exposures",
    ),
    (
        {"exclude": [exclusion("2026-01-10"), exclusion("2026-01-10")]},
        "exclude.1.dates: 2026-01-10 is there twice for exposures",
    ),
    ({"exclude": [exclusion("2026-01-10", reason=" ")]}, "exclude.0.reason: found ' '; must say why"),
    ({"exclude": [exclusion("2026-01-10", by="")]}, "exclude.0.by: found ''; must say who decided so"),
    ({"exclude": [exclusion("2026-01-10") | {"reson": "x"}]}, "exclude.0.reson: unknown key; did you mean 'reason'?"),
    (
        {"exclude": [exclusion([*JANUARY, "2026-02-01"], "assignments")]},
        "exclude: every date of the experiment, 2026-01-05 to 2026-02-01, is excluded for assignments",
    ),
    (
        {"exclude": [exclusion("2026-01-10")], "assignment_source": "exposures"},
        "exclude.0.what: found exposures, but assignment_source is exposures",
    ),
    ({"acknowledge": [acknowledgement("outlier")]}, "unknown check 'outlier'; did you mean 'outliers'?"),
    ({"acknowledge": [acknowledgement("srm_assigned")]}, "acknowledge.0.check: 'srm_assigned' can't be acknowledged"),
    ({"acknowledge": [acknowledgement("pretrends")]}, "acknowledge.0.check: 'pretrends' can't be acknowledged"),
    ({"acknowledge": [acknowledgement("variant_mismatch")]}, "exclude the days on which they did"),
    (
        {"acknowledge": [acknowledgement("exposure_logging")]},
        "acknowledge.0.dates: missing; exposure_logging judges each",
    ),
    (
        {"acknowledge": [acknowledgement("exposure_logging", dates="2026-02-09")]},
        "acknowledge.0.dates: found 2026-02-09, but exposure_logging judges dates between 2026-01-05 and 2026-02-01",
    ),
    (
        {"acknowledge": [acknowledgement("exposure_logging", dates="2026-01-09", metric="revenue")]},
        "acknowledge.0.metric: found 'revenue', but exposure_logging judges a day's logging",
    ),
    ({"acknowledge": [acknowledgement("outliers", dates="2026-01-09")]}, "outliers judges the whole result, not a day"),
    ({"acknowledge": [acknowledgement("outliers", metric="revenu")]}, "did you mean 'revenue'?"),
    (
        {"acknowledge": [acknowledgement("cap"), acknowledgement("cap", metric="revenue")]},
        "'cap' is acknowledged twice",
    ),
    ({"acknowledge": [acknowledgement("cap", reason="")]}, "acknowledge.0.reason: found ''; must say why"),
]


@pytest.mark.parametrize(("keys", "sentence"), MISTAKES)
def test_bad_input_is_refused_with_a_sentence_that_names_the_file(
    project: Project, keys: dict[str, Any], sentence: str
) -> None:
    refusal = loaded(project, **keys).broken[ID]
    assert sentence in refusal
    assert FILE in refusal


def test_a_single_date_and_a_list_of_one_are_the_same(project: Project) -> None:
    one = loaded(project, exclude=[exclusion("2026-01-10")])
    listed = loaded(project, exclude=[exclusion(["2026-01-10"])])
    assert one.experiment(ID) == listed.experiment(ID)
    assert one.experiment(ID).excluded("exposures") == (date(2026, 1, 10),)
    assert one.experiment(ID).excluded("assignments") == ()


@pytest.mark.parametrize("day", ["2025-12-23", "2026-02-07"])
def test_outcomes_may_be_excluded_before_the_start_and_after_the_end(project: Project, day: str) -> None:
    assert loaded(project, exclude=[exclusion(day, "outcomes")]).broken == {}


def test_a_run_without_either_key_keeps_its_hash_and_each_change_of_them_has_another(project: Project) -> None:
    plain = project.config_hash(project.experiment(ID))
    hashes = [plain]
    for keys in (
        {"exclude": [exclusion("2026-01-10")]},
        {"exclude": [exclusion("2026-01-11")]},
        {"exclude": [], "acknowledge": [acknowledgement("cap")]},
    ):
        changed = loaded(project, **keys)
        hashes.append(changed.config_hash(changed.experiment(ID)))
    assert len(set(hashes)) == 4
    emptied = loaded(project, exclude=[], acknowledge=[])
    assert emptied.config_hash(emptied.experiment(ID)) == plain


def test_an_experiment_without_the_keys_is_hashed_as_before_them(project: Project) -> None:
    before = project.experiment(ID).model_dump(mode="json", exclude={"status", "exclude", "acknowledge", "streams"})
    assert _hashed_experiment(project.experiment(ID)) == before


def test_every_check_is_either_acknowledged_by_day_by_result_or_never() -> None:
    daily = {check.name for check in verdicts.CHECKS} | {outcome_volume.NAME}
    assert daily == {*DAILY_CHECKS, "variant_mismatch", "multi_variation_exposure"}
    assert not {*DAILY_CHECKS, *RESULT_CHECKS} & NEVER_ACKNOWLEDGED.keys()


@pytest.mark.parametrize(
    ("one", "row", "covered"),
    [
        ({"check": "cap"}, ("cap", "revenue", None), True),
        ({"check": "cap", "metric": "revenue"}, ("cap", "revenue", None), True),
        ({"check": "cap", "metric": "revenue"}, ("cap", "latency", None), False),
        ({"check": "cap"}, ("outliers", "revenue", None), False),
        ({"check": "exposure_logging", "dates": "2026-01-10"}, ("exposure_logging", None, date(2026, 1, 10)), True),
        ({"check": "exposure_logging", "dates": "2026-01-10"}, ("exposure_logging", None, date(2026, 1, 11)), False),
    ],
)
def test_an_acknowledgement_covers_its_check_on_its_metric_or_days_alone(one: Any, row: Any, covered: bool) -> None:
    assert Acknowledgement(**one, reason="known", by="ana").covers(*row) is covered


def test_dates_of_several_entries_of_one_kind_are_in_order() -> None:
    entries = [Exclusion(**exclusion(["2026-01-12", "2026-01-10"])), Exclusion(**exclusion("2026-01-11"))]
    assert [day.day for day in excluded_dates(entries, "exposures")] == [10, 11, 12]
