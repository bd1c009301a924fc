"""The sender against a local server that speaks like Slack's webhook, its errors included."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from exp_platform.airflow.slack_post import SlackError, slack_sender

pytestmark = pytest.mark.airflow

PAYLOAD = {"text": "hello", "blocks": [{"type": "divider"}]}


class Webhook:
    """Answers each request with the next of `answers`, then with ok; keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]] | str] = []
        self.received: list[dict[str, Any]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer = webhook.answers.pop(0) if webhook.answers else (200, {})
                if answer == "silence":
                    time.sleep(3)
                    return
                status, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok" if status == 200 else b"rollup_error")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/services/T/B/secret"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps({"conn_type": "slackwebhook", "password": server.url}))
    yield server
    server.server.shutdown()


def send(timeout: int = 5) -> None:
    sender = slack_sender(timeout)
    assert sender is not None
    sender(PAYLOAD)


def test_a_message_arrives_as_it_was_written(webhook: Webhook) -> None:
    send()
    assert webhook.received == [PAYLOAD]


def test_a_rate_limit_is_waited_out(webhook: Webhook) -> None:
    webhook.answers = [(429, {"Retry-After": "1"})]
    send()
    assert len(webhook.received) == 2


def test_a_rate_limit_of_an_hour_is_not_waited_out(webhook: Webhook) -> None:
    webhook.answers = [(429, {"Retry-After": "3600"})]
    with pytest.raises(SlackError, match="Slack answered 429"):
        send()
    assert len(webhook.received) == 1


def test_a_server_error_is_tried_again_and_then_told(webhook: Webhook) -> None:
    webhook.answers = [(500, {})]
    send()
    assert len(webhook.received) == 2
    webhook.answers = [(500, {})] * 3
    with pytest.raises(SlackError, match="Slack answered 500: rollup_error"):
        send()


def test_a_refused_message_is_not_tried_again(webhook: Webhook) -> None:
    webhook.answers = [(404, {})]
    with pytest.raises(SlackError, match="Slack answered 404"):
        send()
    assert len(webhook.received) == 1


def test_silence_ends_after_the_time_out(webhook: Webhook) -> None:
    webhook.answers = ["silence"] * 3
    with pytest.raises(SlackError, match=r"no answer within 1 s|no connection|connection broke"):
        send(timeout=1)
    assert len(webhook.received) == 3


def test_a_refused_connection_is_told_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/services/T/B/secret"
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps({"conn_type": "slackwebhook", "password": url}))
    with pytest.raises(SlackError) as caught:
        send()
    assert "no connection" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_connection_there_is_no_sender(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("AIRFLOW_CONN_SLACK_DEFAULT", raising=False)
    else:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", value)
    assert slack_sender() is None
