"""A small client of Airflow's REST API, for the scripts and the tests."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from functools import cached_property
from http import HTTPStatus
from typing import Any

ANSWER_SECONDS = 120  # a server that has just started on a busy machine takes its time
# Over SQLite two transactions of the server may wait for each other until one is given up: the request ends with 500,
# and nothing of it was done.
TRIES = 3


class Client:
    """A client with one login; an error carries the server's answer."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._login = {"username": user, "password": password}

    @cached_property
    def _token(self) -> str:
        answer = self._send("POST", f"{self._url}/auth/token", self._login, {})
        return str(answer["access_token"])

    def get(self, path: str) -> Any:
        """Send GET to a path below /api/v2; return the JSON answer."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to a path below /api/v2; return the JSON answer, or None for an empty one."""
        url, headers = f"{self._url}/api/v2{path}", {"Authorization": f"Bearer {self._token}"}
        for _ in range(TRIES - 1):
            try:
                return self._send(method, url, body, headers)
            except ApiError as error:
                if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
            time.sleep(1)
        return self._send(method, url, body, headers)

    def _send(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers | {"Content-Type": "application/json"}, method=method)  # noqa: S310  the address of the local API server
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  the address of the local API server
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode()) from None
        return json.loads(text) if text else None


class ApiError(OSError):
    """The server refused a request; `status` is the HTTP code, `said` its answer."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.said = said
