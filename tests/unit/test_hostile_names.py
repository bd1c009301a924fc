"""Names that would be commands somewhere: each sink refuses them, or writes them so that they are only text."""

from __future__ import annotations

import json
import re
from datetime import date

import duckdb
import pytest

from exp_platform.alerts.history import Streak
from exp_platform.alerts.model import Alert, Kind
from exp_platform.alerts.slack import part_of, slack_message
from exp_platform.config.load import check_experiment_id
from exp_platform.errors import ConfigError
from exp_platform.ledger.pins import tag_of_run
from exp_platform.memo.index.entry import without_memo
from exp_platform.memo.index.page import page
from exp_platform.pipelines.context import branch_of_run
from exp_platform.pipelines.job import RUN_ID
from exp_platform.second_opinion.spine import text

HOSTILE = (
    "../../etc/passwd",
    "exp_a/../exp_b",
    "exp_a'; DROP TABLE x; --",
    "exp_a`touch /tmp/x`",
    "$(touch /tmp/x)",
    "exp_a\nexp_b",
    "exp_a\x00",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!channel> <@U1|x>",
    "exp_\u202eb",
    "exp_ä",
    "a" * 65,
    "",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_such_name_is_an_experiment_or_a_run(name: str) -> None:
    with pytest.raises(ConfigError, match="is not allowed"):
        check_experiment_id(name)
    if name != "a" * 65:
        assert re.fullmatch(RUN_ID, name) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_tags_and_branches_hold_a_hash_of_the_name(name: str) -> None:
    assert re.fullmatch(r"run_[0-9a-f]{12}", tag_of_run(name, name))
    assert re.fullmatch(r"backfill_[0-9a-f]{12}", branch_of_run(name, name))


@pytest.mark.parametrize("name", HOSTILE)
def test_the_index_page_shows_a_name_as_text(name: str) -> None:
    html = page([without_memo("exp_a", name, name, "running", refused=name)], date(2026, 1, 1))
    plain = page([without_memo("exp_a", "x", "x", "running", refused="x")], date(2026, 1, 1))
    assert html.count("<script") == plain.count("<script")
    assert html.count("<img") == plain.count("<img")


@pytest.mark.parametrize("name", HOSTILE)
def test_slack_gets_no_markup_from_a_name(name: str) -> None:
    alert = Alert("exp_a", date(2026, 1, 1), Kind.RUN_CRASHED, name, name, {"stage": name})
    about = dict.fromkeys(("name", "owner", "decision", "trust", "changed"), name)
    message = slack_message([part_of(alert, {}, about, Streak(date(2026, 1, 1), 1))])
    header, *others = message["blocks"]
    assert header["text"]["type"] == "plain_text"  # in which Slack reads no markup
    read = json.dumps([message["text"], others])
    assert "<!channel>" not in read
    assert "<@U1" not in read


@pytest.mark.parametrize("name", [one for one in HOSTILE if "\x00" not in one])
def test_the_second_implementation_reads_a_name_as_text(name: str) -> None:
    with duckdb.connect() as db:
        assert db.execute(f"SELECT {text(name)}").fetchall() == [(name,)]
