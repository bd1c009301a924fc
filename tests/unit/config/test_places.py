"""Where the tables are: what a profile may say of its catalog and its store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.conftest import make_project

from exp_platform.config.models import CatalogSettings, ObjectStoreSettings
from exp_platform.errors import ConfigError

REST = {"type": "rest", "uri": "https://catalog", "warehouse": "s3://lake"}
KEYS = {"access_key": "a", "secret_key": "b"}


def catalog(**other: Any) -> CatalogSettings:
    return CatalogSettings.model_validate(REST | other)


@pytest.mark.parametrize(
    ("given", "signed_by"),
    [
        ({}, "none"),
        ({"user": "me", "password": "p"}, "oauth2"),
        ({"token": "t"}, "bearer"),
        ({"token": "t", "user": "me", "password": "p"}, "bearer"),
        ({"auth": "sigv4"}, "sigv4"),
        ({"auth": "sigv4", "user": "key", "password": "secret"}, "sigv4"),
        ({"auth": "none", "token": "t"}, "none"),
    ],
)
def test_an_identity_follows_from_the_keys_unless_it_is_named(given: dict[str, str], signed_by: str) -> None:
    assert catalog(**given).signed_by == signed_by


@pytest.mark.parametrize(
    ("warehouse", "is_a_name"),
    [
        ("lake", True),
        ("arn:aws:s3tables:us-east-1:123456789012:bucket/lake", True),
        ("s3://lake", False),
        ("s3://lake/prefix", False),
        ("data/warehouse", False),
    ],
)
def test_a_warehouse_without_a_place_is_a_name_in_a_rest_catalog(warehouse: str, is_a_name: bool) -> None:
    assert catalog(warehouse=warehouse).names_its_warehouse == is_a_name


def test_a_folder_of_an_embedded_catalog_is_no_name() -> None:
    assert not CatalogSettings(type="sqlite", uri="c.db", warehouse="warehouse").names_its_warehouse


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"type": "sqlite", "uri": "c.db", "warehouse": "w", "auth": "oauth2"}, "auth is for a REST catalog"),
        (REST | {"auth": "oauth2", "user": "me"}, "auth oauth2 needs password"),
        (REST | {"auth": "bearer"}, "auth bearer needs token"),
        (REST | {"auth": "sigv4", "user": "key"}, "user and password go together"),
        (REST | {"auth": "kerberos"}, "Input should be 'none', 'oauth2', 'bearer' or 'sigv4'"),
        ({"type": "postgres", "uri": "h/d", "warehouse": "arn:aws:x:::y"}, "an ARN, which only a REST"),
        (REST | {"warehouse": "s3://arn:aws:s3:x:1:accesspoint/a/b"}, "give the access point's alias"),
    ],
)
def test_a_catalog_whose_keys_do_not_fit_together_is_refused(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        CatalogSettings.model_validate(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"access_key": "a"}, "access_key and secret_key go together"),
        ({"session_token": "t"}, "session_token needs access_key and secret_key"),
        (KEYS | {"endpoint": "http://s", "ca_file": "ca.pem"}, "ca_file needs an endpoint with https"),
    ],
)
def test_a_store_whose_keys_do_not_fit_together_is_refused(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ObjectStoreSettings.model_validate(content)


def test_a_refusal_names_file_and_block(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"configs/dev.yaml:\d+: catalog.*auth bearer needs token"):
        make_project(tmp_path, catalog=REST | {"auth": "bearer"})


def test_a_variable_that_is_not_set_leaves_a_key_out(tmp_path: Path) -> None:
    block = {"endpoint": "${NO_SUCH_ENDPOINT:-}", "access_key": "${NO_SUCH_KEY:-}", "secret_key": "${NO_SUCH_KEY:-}"}
    store = make_project(tmp_path, object_store=block).profile.object_store
    assert store == ObjectStoreSettings()
    assert store is not None and not store.by_path


def test_a_store_with_an_address_is_asked_by_path_unless_the_profile_says_otherwise() -> None:
    assert ObjectStoreSettings(endpoint="http://s").by_path
    assert not ObjectStoreSettings(endpoint="http://s", path_style=False).by_path
    assert not ObjectStoreSettings().by_path


def test_no_secret_is_shown() -> None:
    shown = repr(catalog(token="canary")) + repr(ObjectStoreSettings(**KEYS | {"session_token": "canary"}))
    assert "canary" not in shown
