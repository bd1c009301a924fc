"""A failed check that is acknowledged, through the stages without Spark: verdict, reason, amendment and memo."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from tests.hand_lake import put
from tests.unit.results.test_sealing_stages import Story

from exp_platform.airflow.gate_verdicts import quality_verdict
from exp_platform.alerts.model import Kind, verdict_alerts
from exp_platform.config.models import Acknowledgement, Exclusion
from exp_platform.decision.acknowledged import counted
from exp_platform.lake.tables import TABLES
from exp_platform.lake.tables.names import EXPOSURE_QUALITY_DAILY
from exp_platform.lake.types import arrow_schema

LOST = date(2026, 1, 9)
FAILED = {
    "experiment_id": "exp_test",
    "date": LOST,
    "check_name": "exposure_logging",
    "observed": 0.4,
    "expected": 0.8,
    "threshold": 0.72,
    "p_value": 1e-9,
    "status": "fail",
    "detail": "40% of 300 assigned users have an exposure",
}
EXCLUDED = Exclusion(dates=LOST, what="exposures", reason="a lost queue", by="ana")
KNOWN = Acknowledgement(check="exposure_logging", dates=LOST, reason="a holiday", by="ben")


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """Sealed on the 14th with a failed check, acknowledged before the 15th's run; its day is excluded on the 16th."""
    told = Story(tmp_path_factory.mktemp("acknowledged"))
    told.experiment = told.experiment.model_copy(update={"analysis_mode": "exposed"})
    put(
        told.project,
        EXPOSURE_QUALITY_DAILY,
        pa.Table.from_pylist([FAILED], arrow_schema(TABLES[EXPOSURE_QUALITY_DAILY])),
    )
    told.run(14, "failed")
    told.run(15, "acknowledged", acknowledge=(KNOWN,))
    told.run(16, "excluded", acknowledge=(KNOWN,), exclude=(EXCLUDED,))
    return told


def test_a_failed_check_makes_the_result_invalid_until_it_is_acknowledged(story):
    assert (story.decision(14)["decision"], story.decision(14)["trust"]) == ("invalid", "not_trusted")
    assert story.decision(15)["decision"] != "invalid" and story.decision(15)["trust"] != "not_trusted"
    assert "acknowledged:exposure_logging" in story.decision(15)["reasons"]


def test_the_acknowledgement_is_an_amendment_with_its_effect_on_the_verdict(story):
    (_, amended, _) = story.seals()
    assert amended["changes"] == ["acknowledge.exposure_logging 2026-01-09: not set → a holiday (ben)"]
    assert amended["effect_on_verdict"].startswith("as of 2026-01-15 the sealed plan gives invalid, the present one")


def test_an_exclusion_is_an_amendment_whose_effect_published_results_cannot_tell(story):
    (*_, amended) = story.seals()
    assert amended["changes"] == ["exclude.exposures 2026-01-09: not set → a lost queue (ana)"]
    assert amended["effect_on_verdict"].startswith("not to be told from the published results of 2026-01-16")
    facts = {fact["label"]: fact["now"] for fact in story.memo(16)["sealed_plan"]["facts"]}
    assert facts["Excluded days"] == "exposures 2026-01-09 a lost queue (ana)"


def test_the_memo_says_who_acknowledged_what_and_how_often_it_spoke_up(story):
    (row,) = story.memo(15)["unusable"]["acknowledged"]
    assert (row["check"], row["by"], row["reason"], row["count"]) == ("exposure_logging", "ben", "a holiday", 1)
    assert "exposure logging on 9 Jan 2026 is acknowledged: a holiday (ben). 1 verdict does not count" in story.memo(
        15, "md"
    )
    facts = {fact["label"]: fact["now"] for fact in story.memo(15)["sealed_plan"]["facts"]}
    assert facts["Acknowledged checks"] == "exposure_logging 2026-01-09 a holiday (ben)"
    assert "Acknowledged checks" not in {fact["label"] for fact in story.memo(14)["sealed_plan"]["facts"]}


def test_no_gate_and_no_alert_speaks_of_an_acknowledged_failure(story):
    mine = story.experiment.model_copy(update={"acknowledge": (KNOWN,)})
    assert quality_verdict([FAILED], "exposed") is not None
    assert quality_verdict(counted([FAILED], mine.acknowledge), "exposed") is None
    kinds = [[a.kind for a in verdict_alerts(e, date(2026, 1, 15), [], [], [FAILED])] for e in (story.experiment, mine)]
    assert kinds == [[Kind.QUALITY_FAILED], []]
