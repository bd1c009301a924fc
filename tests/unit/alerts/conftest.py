"""The fixture of every test that posts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.alerts.slack_server import Slack


@pytest.fixture
def slack() -> Iterator[Slack]:
    server = Slack()
    yield server
    server.close()
