"""Posting to a server that speaks like Slack's webhook, and misbehaves like it."""

from __future__ import annotations

import socket

import pytest
from tests.unit.alerts.slack_server import Slack

from exp_platform.alerts.webhook import SendError, webhook

PAYLOAD = {"text": "Guardrail failed", "blocks": []}


def test_a_message_arrives_as_json(slack: Slack):
    webhook(slack.url)(PAYLOAD)
    assert slack.got == [PAYLOAD]


def test_after_429_the_next_try_waits_as_long_as_it_was_told(slack: Slack):
    slack.answers = [(429, {"Retry-After": "7"}, 0.0), (200, {}, 0.0)]
    waits: list[float] = []
    webhook(slack.url, sleep=waits.append)(PAYLOAD)
    assert waits == [7.0] and len(slack.got) == 2


def test_a_run_does_not_wait_for_ever_when_told_to_come_back_in_an_hour(slack: Slack):
    slack.answers = [(429, {"Retry-After": "3600"}, 0.0)]
    waits: list[float] = []
    with pytest.raises(SendError, match="429"):
        webhook(slack.url, sleep=waits.append)(PAYLOAD)
    assert waits == [] and len(slack.got) == 1


def test_a_429_without_a_number_waits_a_second(slack: Slack):
    slack.answers = [(429, {"Retry-After": "soon"}, 0.0), (200, {}, 0.0)]
    waits: list[float] = []
    webhook(slack.url, sleep=waits.append)(PAYLOAD)
    assert waits == [1.0]


def test_a_server_error_is_tried_again_with_growing_waits_and_then_given_up(slack: Slack):
    slack.answers = [(500, {}, 0.0)]
    waits: list[float] = []
    with pytest.raises(SendError, match=r"500.*attempt 3 of 3"):
        webhook(slack.url, sleep=waits.append)(PAYLOAD)
    assert waits == [1.0, 2.0] and len(slack.got) == 3


def test_a_refused_message_is_not_tried_again(slack: Slack):
    slack.answers = [(400, {}, 0.0)]
    with pytest.raises(SendError, match="400: no_text"):
        webhook(slack.url, sleep=lambda _: pytest.fail("no use in waiting"))(PAYLOAD)
    assert len(slack.got) == 1


def test_a_silent_server_is_a_time_out(slack: Slack):
    slack.answers = [(200, {}, 30.0)]
    with pytest.raises(SendError, match=r"no answer within 0\.2 s"):
        webhook(slack.url, attempts=2, timeout=0.2, sleep=lambda _: None)(PAYLOAD)
    assert len(slack.got) == 2


def test_a_refused_connection_says_so_and_never_shows_the_secret():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/services/T0/B0/secret"
    with pytest.raises(SendError, match="no connection") as refused:
        webhook(url, sleep=lambda _: None)(PAYLOAD)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["not a url", "file:///etc/passwd", "http://[broken/secret"])
def test_what_is_no_web_address_is_refused_at_once(url: str):
    with pytest.raises(SendError) as refused:
        webhook(url, sleep=lambda _: pytest.fail("no use in waiting"))(PAYLOAD)
    assert "secret" not in str(refused.value) and "passwd" not in str(refused.value)
