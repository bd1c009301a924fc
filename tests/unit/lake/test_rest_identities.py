"""The header that a REST catalog gets from PyIceberg, seen by a small catalog inside of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.conftest import make_project

from exp_platform.config.load import Project
from exp_platform.config.models import CatalogSettings
from exp_platform.errors import ConfigError, ExpError
from exp_platform.lake.catalog import load_catalog


@dataclass
class Stub:
    """A catalog without a table. It gives tokens to one client, and answers whoever sends what `wanted` says."""

    wanted: str | None = None
    status: int = 200
    headers: list[dict[str, str]] = field(default_factory=list)
    asked_for_tokens: list[dict[str, list[str]]] = field(default_factory=list)
    uri: str = ""

    def catalog(self, **keys: str) -> dict[str, str]:
        return {"type": "rest", "uri": self.uri, "warehouse": "lake"} | keys


@pytest.fixture
def stub() -> Iterator[Stub]:
    seen = Stub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            seen.asked_for_tokens.append(form | {"path": [self.path]})
            if form.get("client_secret") != ["right"]:
                return self.answer(401, {"error": "invalid_client", "error_description": "unknown client"})
            return self.answer(200, {"access_token": "given-out", "token_type": "bearer", "expires_in": 60})

        def do_GET(self) -> None:
            seen.headers.append(dict(self.headers) | {"query": urlsplit(self.path).query})
            if seen.status != 200:
                return self.answer(seen.status, {"error": {"message": "stub", "type": "Stub", "code": seen.status}})
            if seen.wanted is not None and self.headers.get("Authorization") != seen.wanted:
                error = {"message": "who are you", "type": "NotAuthorizedException", "code": 401}
                return self.answer(401, {"error": error})
            return self.answer(200, {"defaults": {}, "overrides": {}, "namespaces": [["ops"]]})

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.uri = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield seen
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("identities"))


def namespaces(plain: Project, catalog: dict[str, str]) -> list[tuple[str, ...]]:
    settings = CatalogSettings.model_validate(catalog)
    project = replace(plain, profile=plain.profile.model_copy(update={"catalog": settings}))
    return load_catalog(project).list_namespaces()


def test_a_client_asks_for_a_token_and_sends_it(plain: Project, stub: Stub) -> None:
    stub.wanted = "Bearer given-out"
    assert namespaces(plain, stub.catalog(user="me", password="right", scope="all")) == [("ops",)]
    asked = stub.asked_for_tokens[0]
    assert (asked["client_id"], asked["scope"], asked["path"]) == (["me"], ["all"], ["/v1/oauth/tokens"])
    assert stub.headers[0]["query"] == "warehouse=lake"


def test_tokens_may_be_given_out_elsewhere(plain: Project, stub: Stub) -> None:
    stub.wanted = "Bearer given-out"
    namespaces(plain, stub.catalog(user="me", password="right", token_uri=f"{stub.uri}/login/token"))
    assert {asked["path"][0] for asked in stub.asked_for_tokens} == {"/login/token"}


def test_a_bearer_sends_its_token_as_it_is(plain: Project, stub: Stub) -> None:
    stub.wanted = "Bearer mine"
    assert namespaces(plain, stub.catalog(token="mine")) == [("ops",)]
    assert stub.asked_for_tokens == []


def test_without_an_identity_there_is_no_header(plain: Project, stub: Stub) -> None:
    assert namespaces(plain, stub.catalog()) == [("ops",)]
    assert not any("Authorization" in headers for headers in stub.headers)


def test_a_signed_request_names_key_region_and_service(plain: Project, stub: Stub) -> None:
    signing = {"auth": "sigv4", "signing_name": "glue", "signing_region": "eu-west-3"}
    assert namespaces(plain, stub.catalog(user="a-key", password="a-secret", **signing)) == [("ops",)]
    for headers in stub.headers:
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=a-key/")
        assert "/eu-west-3/glue/aws4_request" in headers["Authorization"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"user": "me", "password": "wrong"}, "refuses this client .*correct catalog.user and catalog.password"),
        ({"token": "wrong"}, "refuses this client .*correct catalog.token"),
        ({}, "refuses this client .*correct catalog.auth, which is none"),
    ],
)
def test_who_is_not_known_is_told_which_key_to_correct(
    plain: Project, stub: Stub, keys: dict[str, str], sentence: str
) -> None:
    stub.wanted = "Bearer right"
    with pytest.raises(ConfigError, match=sentence):
        namespaces(plain, stub.catalog(**keys))


@pytest.mark.parametrize("status", [500, 503])
def test_a_catalog_in_trouble_is_asked_again_later(plain: Project, stub: Stub, status: int) -> None:
    stub.status = status
    with pytest.raises(ExpError, match=r"does not answer .*then try again") as failed:
        namespaces(plain, stub.catalog())
    assert failed.value.exit_code == 1


def test_a_catalog_that_is_not_there_is_asked_again_later(plain: Project, tmp_path: Path) -> None:
    with pytest.raises(ExpError, match=r"the REST catalog http://127.0.0.1:9 does not answer \(.*refused\)") as failed:
        namespaces(plain, {"type": "rest", "uri": "http://127.0.0.1:9", "warehouse": "lake"})
    assert failed.value.exit_code == 1
