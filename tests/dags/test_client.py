"""The client of Airflow's REST API against a server of a few lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from exp_platform.airflow import client
from exp_platform.airflow.client import TRIES, ApiError, Client


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, list[int]]]:
    """A client, and the codes that the server answers its next requests with; after them it is well."""
    codes: list[int] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            login = self.path == "/auth/token"
            code = 201 if login or not codes else codes.pop(0)
            content: Any = {"access_token": "a-token"} if login else {"code": code}
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Client(f"http://127.0.0.1:{server.server_port}", "admin", "word"), codes
        server.shutdown()
        thread.join()


def test_a_request_that_the_database_gave_up_is_sent_again(answers: tuple[Client, list[int]]) -> None:
    api, codes = answers
    codes += [500] * (TRIES - 1)
    assert api.send("POST", "/dags/a/dagRuns", {}) == {"code": 201}


def test_a_server_that_stays_broken_is_told_of_after_some_tries(answers: tuple[Client, list[int]]) -> None:
    api, codes = answers
    codes += [500] * TRIES + [409]
    with pytest.raises(ApiError, match="500"):
        api.send("POST", "/dags/a/dagRuns", {})
    assert codes == [409]


@pytest.mark.parametrize("code", [400, 401, 404, 409, 422])
def test_what_the_server_refuses_is_not_asked_again(answers: tuple[Client, list[int]], code: int) -> None:
    api, codes = answers
    codes += [code, 201]
    with pytest.raises(ApiError) as caught:
        api.send("POST", "/dags/a/dagRuns", {})
    assert (caught.value.status, codes) == (code, [201])
