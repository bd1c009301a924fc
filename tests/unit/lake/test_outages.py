"""Errors of a catalog or a store that is wrong or away: one sentence with an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError
from exp_platform.lake.catalog import load_handle
from exp_platform.lake.outages import explanation
from exp_platform.lake.raw_zone import list_days

STORE = {"endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "canary"}


@pytest.fixture(scope="module")
def on_a_store(tmp_path_factory: pytest.TempPathFactory) -> Project:
    catalog = {"type": "sqlite", "uri": "data/catalog.db", "warehouse": "s3://lake/x"}
    return make_project(tmp_path_factory.mktemp("away"), raw_root="s3a://raw", catalog=catalog, object_store=STORE)


def test_a_store_that_is_away_is_asked_again_later(on_a_store: Project) -> None:
    for action in (lambda: load_handle(on_a_store, "ops.run_claim"), lambda: list_days(on_a_store, "exp_one")):
        with pytest.raises(ExpError, match=r"the object store http://127.0.0.1:9 does not answer .*try again") as away:
            action()
        assert away.value.exit_code == 1
        assert "canary" not in str(away.value)


@pytest.mark.parametrize(
    ("said", "sentence", "code"),
    [
        ("AWS Error ACCESS_DENIED during HeadObject operation", "refuses this client", 64),
        ("AWS Error UNKNOWN (HTTP status 403): HTTP response code 403", "refuses this client", 64),
        ("AWS Error NO_SUCH_BUCKET during PutObject", "a bucket is not in", 64),
        ("AWS Error NETWORK_CONNECTION: SSL certificate problem", "does not trust", 64),
        ("AWS Error SLOW_DOWN during PutObject", "does not answer", 1),
        ("AWS Error INTERNAL_FAILURE during GetObject (HTTP 500)", "does not answer", 1),
    ],
)
def test_an_error_of_the_store_is_a_wrong_setting_or_an_outage(
    on_a_store: Project, said: str, sentence: str, code: int
) -> None:
    found = explanation(on_a_store, OSError(f"When asking: {said}\n  with more"))
    assert found is not None
    assert sentence in str(found) and "\n" not in str(found)
    assert found.exit_code == code


def test_a_full_disk_is_no_error_of_the_store(on_a_store: Project, tmp_path: Path) -> None:
    assert explanation(on_a_store, OSError(28, "No space left on device")) is None
    assert explanation(make_project(tmp_path), OSError("AWS Error ACCESS_DENIED")) is None
    assert explanation(on_a_store, ValueError("AWS Error")) is None


def test_keys_of_the_machine_are_named_where_the_profile_has_none(tmp_path: Path) -> None:
    project = make_project(tmp_path, object_store={"region": "eu-west-1"})
    found = explanation(project, OSError("AWS Error ACCESS_DENIED"))
    assert isinstance(found, ConfigError)
    assert "the object store AWS refuses" in str(found) and "AWS's default chain" in str(found)


def test_a_server_without_a_free_connection_is_asked_again_and_the_sentence_says_how_many_it_needs(
    tmp_path: Path,
) -> None:
    catalog = {"type": "postgres", "uri": "db:5432/lake", "warehouse": "s3://lake/x", "user": "me"}
    project = make_project(tmp_path, catalog=catalog, object_store=STORE)
    for words in ("FATAL:  sorry, too many clients already", "FATAL:  remaining connection slots are reserved"):
        found = explanation(project, OperationalError("SELECT 1", None, Exception(words)))
        assert found is not None and found.exit_code == 1
        assert "has no connection left" in str(found) and "max_connections of the server to six for each" in str(found)
